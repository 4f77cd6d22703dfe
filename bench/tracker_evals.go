package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/tracker/eval"
	"github.com/firn-log/firn/tracker/store"
)

// madeChannel is a channel whose attributes were made up. Each evaluation gives one of 25 another version.
type madeChannel struct {
	name    string
	number  int // channels have half of their derivations in common
	attrs   int
	outputs int // that there are; an attribute has one of them

	folder *eval.Folder
	base   [2]string // digest of the last file of each tier
}

const madeChange = 25

// output is the output of an attribute at an evaluation.
func (c *madeChannel) output(attr int, seq int64) int {
	i := attr
	if attr%2 == 0 {
		i += c.number * c.attrs
	}
	// How often it has changed by then.
	changes := (seq + int64(attr)%madeChange) / madeChange
	return firstOutput + (i+int(changes)*c.attrs)%c.outputs
}

func attributeName(attr int) string { return "attribute-" + strconv.Itoa(attr) }

// changed reports whether an evaluation gives an attribute another version.
func (c *madeChannel) changed(attr int, seq int64) bool {
	return seq == 1 || c.output(attr, seq) != c.output(attr, seq-1)
}

// add keeps the files of an evaluation, of all attributes if it is the first.
func (c *madeChannel) add(seq int64) error {
	tiers := [2]map[string]eval.Attribute{{}, {}}
	for a := range c.attrs {
		if !c.changed(a, seq) {
			continue
		}
		i := c.output(a, seq)
		info, modulo, err := pathInfo(i, 0)
		if err != nil {
			return err
		}
		name := attributeName(a)
		m := eval.Attribute{
			Attr: name, Name: packageName(i), Pname: "package-" + strconv.Itoa(a), Version: fmt.Sprintf("1.%d", i), System: "x86_64-linux",
			Position: fmt.Sprintf("pkgs/%d.nix:1", a), Description: description(a), Homepage: fmt.Sprintf("https://home-%d.example/", a), Licences: []string{"MIT"},
			Maintainers: []eval.Maintainer{{Login: fmt.Sprintf("maintainer-%d", a%(c.attrs/30+1))}},
		}
		if a%50 == 0 {
			m.Teams = []string{fmt.Sprintf("team-%d", a%10)}
		}
		tiers[0][name] = m
		tiers[1][name] = eval.Attribute{
			Attr: name, Name: packageName(i), System: "x86_64-linux", Drv: nix.EncodeBase32(modulo[:20]) + "-" + packageName(i) + ".drv",
			Outputs: map[string]string{"out": info.Path.Base()},
		}
	}
	for n, tier := range []eval.Tier{eval.Meta, eval.Drvs} {
		h := eval.Header{
			Schema: eval.Schema, Channel: c.name, Seq: seq, Tier: tier, Revision: fmt.Sprintf("%040d", seq), Time: time.Unix(1_700_000_000+seq*86400, 0).UTC(), System: "x86_64-linux",
			Full: c.base[n] == "", Base: c.base[n],
		}
		var err error
		if _, c.base[n], err = c.folder.Add(h, tiers[n]); err != nil {
			return err
		}
	}
	return nil
}

const (
	intervalAttrs = 14_000
	intervalEvals = 20
	intervalLater = 100 // the evaluation that costs what changed
	intervalLess  = 7
)

// benchIntervals keeps evaluations of which each changes 4 % as files, adds them to a database,
// and compares its rows with those of snapshots.
func benchIntervals(ctx context.Context, dir string) ([]row, error) {
	db, err := store.Open(ctx, filepath.Join(dir, "intervals.db"), store.Options{})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	c := &madeChannel{name: "unstable", attrs: intervalAttrs, outputs: 1 << 30, folder: eval.NewFolder(filepath.Join(dir, "intervals"))}
	var rows map[string]int
	var took []time.Duration
	snapshots := 0
	for seq := int64(1); seq <= intervalLater; seq++ {
		if err := c.add(seq); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := addEvaluation(ctx, db, c, seq); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
		if seq <= intervalEvals {
			snapshots += 2 * c.attrs // what its metadata was, and its derivation
		}
		if seq == intervalEvals {
			if rows, err = dumpLines(ctx, db); err != nil {
				return nil, err
			}
		}
	}
	history := rows["meta"] + rows["drv"] + rows["change"] + rows["evaluation"]
	all := 0
	for _, n := range rows {
		all += n
	}
	if rows["row"] != c.attrs || rows["change"] < (intervalEvals-1)*c.attrs/madeChange {
		return nil, fmt.Errorf("after %d evaluations the database has %v", intervalEvals, rows)
	}
	mean := func(from, to int) time.Duration {
		sum := time.Duration(0)
		for _, d := range took[from:to] {
			sum += d
		}
		return sum / time.Duration(to-from)
	}
	early, late := mean(1, 11), mean(intervalLater-10, intervalLater)
	return []row{
		{
			what:  fmt.Sprintf("%d evaluations of %s attributes, each changing %d %%, both tiers, as intervals with the list of changes", intervalEvals, count(intervalAttrs), 100/madeChange),
			value: fmt.Sprintf("%s rows; %s in the whole dump", count(float64(history)), count(float64(all))), target: fmt.Sprintf("≤ 1/%d of the rows of snapshots", intervalLess),
			fraction: fmt.Sprintf("1/%.1f of %s rows", float64(snapshots)/float64(history), count(float64(snapshots))), met: history*intervalLess <= snapshots,
		},
		{
			what:     "adding one of them, both tiers: the first; 2nd to 11th; 91st to 100th",
			value:    fmt.Sprintf("%s; %s; %s", millis(took[0]), millis(early), millis(late)),
			fraction: fmt.Sprintf("the hundredth takes %.2f × the second, %.2f × the first", late.Seconds()/early.Seconds(), late.Seconds()/took[0].Seconds()),
		},
	}, nil
}

func addEvaluation(ctx context.Context, db *store.DB, c *madeChannel, seq int64) error {
	for _, tier := range []eval.Tier{eval.Meta, eval.Drvs} {
		for e, err := range c.folder.Read(c.name, tier, seq-1) {
			if err != nil {
				return err
			}
			if err := db.Write(ctx, func(tx *store.Tx) error { return tx.AddEvaluation(ctx, e.Header, e.Attributes) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// dumpLines counts the lines of a dump by table.
func dumpLines(ctx context.Context, db *store.DB) (map[string]int, error) {
	rows := make(map[string]int)
	r, w := io.Pipe()
	go func() { w.CloseWithError(db.Dump(ctx, w)) }()
	for in := json.NewDecoder(r); ; {
		var line []json.RawMessage
		switch err := in.Decode(&line); {
		case err == io.EOF:
			return rows, nil
		case err != nil:
			return nil, err
		case len(line) > 0:
			rows[string(bytes.Trim(line[0], `"`))]++
		}
	}
}

// quantile returns the q-quantile of durations.
func quantile(all []time.Duration, q float64) time.Duration {
	s := slices.Sorted(slices.Values(all))
	return s[int(q*float64(len(s)-1))]
}
