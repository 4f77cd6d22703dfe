package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// pageTimes are how long pages took, by kind.
type pageTimes map[string][]time.Duration

func (p pageTimes) all() (all []time.Duration) {
	for _, d := range p {
		all = append(all, d...)
	}
	return all
}

// worst is the kind of page with the largest q-quantile.
func (p pageTimes) worst(q float64) (kind string, d time.Duration) {
	for _, k := range slices.Sorted(maps.Keys(p)) {
		if t := quantile(p[k], q); t > d {
			kind, d = k, t
		}
	}
	return kind, d
}

// print writes a table by kind, the slowest first.
func (p pageTimes) print(w io.Writer, alone pageTimes) {
	kinds := slices.SortedFunc(maps.Keys(p), func(a, b string) int { return int(quantile(p[b], 0.99) - quantile(p[a], 0.99)) })
	fmt.Fprintf(w, "%-26s %6s %9s %9s %9s   %s\n", "page", "read", "p50", "p99", "most", "alone: p50, p99")
	for _, k := range kinds {
		fmt.Fprintf(w, "%-26s %6d %9s %9s %9s   %s, %s\n", k, len(p[k]), millis(quantile(p[k], 0.5)), millis(quantile(p[k], 0.99)), millis(slices.Max(p[k])),
			millis(quantile(alone[k], 0.5)), millis(quantile(alone[k], 0.99)))
	}
}

// rows are the result: the target holds for every kind of page.
func (p pageTimes) rows(what string, alone pageTimes, rss int64, rate float64) []row {
	slow, p50 := p.worst(0.5)
	late, p99 := p.worst(0.99)
	all, before := p.all(), alone.all()
	var over []string
	for _, k := range slices.Sorted(maps.Keys(p)) {
		if quantile(p[k], 0.5) > pageP50 || quantile(p[k], 0.99) > pageP99 {
			over = append(over, k)
		}
	}
	beside := "no kind of page is over"
	if len(over) > 0 {
		beside = "over: " + strings.Join(over, "; ")
	}
	return []row{
		{
			what:     fmt.Sprintf("pages over HTTP at %s, while %s/s are replayed: %s of %d kinds by %d clients", what, count(rate), count(float64(len(all))), len(p), pageClients),
			value:    fmt.Sprintf("p50 %s, p99 %s, %d MiB", millis(quantile(all, 0.5)), millis(quantile(all, 0.99)), rss>>20),
			target:   fmt.Sprintf("p50 ≤ %s, p99 ≤ %s, < %d MiB", millis(pageP50), millis(pageP99), trackerRSS>>20),
			fraction: fmt.Sprintf("when nothing is replayed: p50 %s, p99 %s", millis(quantile(before, 0.5)), millis(quantile(before, 0.99))),
			met:      quantile(all, 0.5) <= pageP50 && quantile(all, 0.99) <= pageP99 && rss < trackerRSS,
		},
		{
			what:     "the worst kind of page in this",
			value:    fmt.Sprintf("p50 %s (%s), p99 %s (%s)", millis(p50), slow, millis(p99), late),
			target:   fmt.Sprintf("p50 ≤ %s, p99 ≤ %s", millis(pageP50), millis(pageP99)),
			fraction: beside, met: len(over) == 0,
		},
	}
}
