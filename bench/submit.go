package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	firnlog "github.com/firn-log/firn/log"
)

// post submits leaves in one request and returns how many were accepted.
// Anything but acceptance is an error: the load is made of new statements.
func post(c *http.Client, base string, leaves [][]byte, wait time.Duration) (int, error) {
	body, err := firnlog.MarshalLeaves(leaves)
	if err != nil {
		return 0, err
	}
	resp, err := c.Post(fmt.Sprintf("%s/v1/statements?wait=%s", base, wait), "application/vnd.firn.leaves", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Message string
		Results []struct{ Status, Error, Message string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, fmt.Errorf("answer %s: %w", resp.Status, err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted {
		return 0, fmt.Errorf("answer %s: %s", resp.Status, answer.Message)
	}
	for _, r := range answer.Results {
		if r.Status != "accepted" {
			return 0, fmt.Errorf("a statement was %s: %s %s", r.Status, r.Error, r.Message)
		}
	}
	return len(answer.Results), nil
}

// benchSubmit measures the ways in, and Rekor's beside them if rekor names its
// program.
func benchSubmit(ctx context.Context, dir, bin, rekor string, cal calibration) ([]row, error) {
	l, err := startLog(ctx, dir, bin)
	if err != nil {
		return nil, err
	}
	defer l.stop()
	next := 100
	take := func(n int) ([][]byte, error) {
		leaves, err := l.op.buildLeaves(ctx, next, n)
		next += n
		return leaves, err
	}
	var rows []row
	for _, size := range []int{100, 1000} {
		r, err := batches(ctx, l.url, take, 30_000/size, size)
		if err != nil {
			return nil, err
		}
		rows = append(rows, rateRow(fmt.Sprintf("statements over HTTP, 1 KiB, %s per request, 16 connections", count(float64(size))), r, 5000, cal, 0))
	}
	peer, err := benchRekor(ctx, dir, rekor)
	if err != nil {
		return nil, err
	}
	single, err := batches(ctx, l.url, take, 8000, 1)
	if err != nil {
		return nil, err
	}
	rows = append(rows, rateRow("statements over HTTP, 1 KiB, one per request, 256 connections", single, 1500, cal, peer.perSecond()))
	if peer.items > 0 {
		rows = append(rows, row{
			what:  "peer: Rekor v2.3.0 (POSIX), one per request, 1,024 connections",
			value: fmt.Sprintf("%s/s, p50 %s", count(peer.perSecond()), millis(peer.quantile(.5))),
		})
	}
	whole, err := thousand(ctx, l.url, take)
	if err != nil {
		return nil, err
	}
	alone, err := alone(ctx, l.url, take)
	if err != nil {
		return nil, err
	}
	return append(rows, whole, alone), nil
}

// batches posts requests of size statements each without waiting for proofs.
func batches(ctx context.Context, url string, take func(int) ([][]byte, error), requests, size int) (rate, error) {
	conns := 16
	if size == 1 {
		conns = 256
	}
	leaves, err := take(requests * size)
	if err != nil {
		return rate{}, err
	}
	return drive(ctx, conns, requests, func(c *http.Client, i int) (int, error) {
		return post(c, url, leaves[i*size:(i+1)*size], 0)
	})
}

// thousand measures one request of 1,000 statements that returns with all
// inclusion hashes; the median of five counts.
func thousand(ctx context.Context, url string, take func(int) ([][]byte, error)) (row, error) {
	leaves, err := take(5000)
	if err != nil {
		return row{}, err
	}
	r, err := drive(ctx, 1, 5, func(c *http.Client, i int) (int, error) {
		return post(c, url, leaves[i*1000:(i+1)*1000], 10*time.Second)
	})
	if err != nil {
		return row{}, err
	}
	return latencyRow("1,000 statements in one request, with inclusion hashes", r, time.Second), nil
}

// alone measures a single statement from submission to its proof.
func alone(ctx context.Context, url string, take func(int) ([][]byte, error)) (row, error) {
	const n = 60
	leaves, err := take(n)
	if err != nil {
		return row{}, err
	}
	r, err := drive(ctx, 1, n, func(c *http.Client, i int) (int, error) {
		return post(c, url, leaves[i:i+1], 10*time.Second)
	})
	if err != nil {
		return row{}, err
	}
	return latencyRow("submit → proof, single statement, interval 100 ms", r, 250*time.Millisecond), nil
}

func benchRekor(ctx context.Context, dir, rekor string) (rate, error) {
	if rekor == "" {
		return rate{}, nil
	}
	url, stop, err := startRekor(ctx, rekor, dir)
	if err != nil {
		return rate{}, fmt.Errorf("starting the peer: %w", err)
	}
	defer stop()
	bodies, err := rekorEntries(4096)
	if err != nil {
		return rate{}, err
	}
	return rekorRate(ctx, url, bodies, 1024)
}

func rateRow(what string, r rate, target float64, cal calibration, peer float64) row {
	fraction := fmt.Sprintf("%.2f of ed25519 verify", r.perSecond()/cal.verifyPerSecond)
	if peer > 0 {
		fraction += fmt.Sprintf(", %.1f × Rekor", r.perSecond()/peer)
	}
	return row{
		what: what, value: fmt.Sprintf("%s/s, p50 %s", count(r.perSecond()), millis(r.quantile(.5))),
		target: fmt.Sprintf("≥ %s/s", count(target)), fraction: fraction, met: r.perSecond() >= target,
	}
}

func latencyRow(what string, r rate, target time.Duration) row {
	p50 := r.quantile(.5)
	return row{
		what: what, value: fmt.Sprintf("p50 %s, max %s", millis(p50), millis(r.quantile(1))),
		target: "≤ " + millis(target), fraction: fmt.Sprintf("%.2f of the target", p50.Seconds()/target.Seconds()), met: p50 <= target,
	}
}
