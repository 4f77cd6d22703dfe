package verify

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/firn-log/firn/log/policy"
)

// setIndex reads the value of the log options `index` and `tail`.
func (ref *LogRef) setIndex(option, value string) string {
	if option == "index" {
		ref.IndexFile = value
		return ""
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != value {
		return fmt.Sprintf("%q is not a number of entries; write for instance tail 1000", value)
	}
	ref.Tail = n
	return ""
}

// indexPolicy reads the index policy of a log whose log policy is there
// (spec/policy.md#index-policies).
func (p *parser) indexPolicy(l line, ref *LogRef) bool {
	if ref.IndexFile == "" {
		return true
	}
	var f field // the name of the file
	for i := 4; i < len(l.fields)-1; i++ {
		if l.fields[i].text == "index" {
			f = l.fields[i+1]
			break
		}
	}
	data, err := p.read(ref.IndexFile)
	if err != nil {
		p.failf(l, f.col, "the index policy of %s cannot be read: %v", ref.Name, err)
		return false
	}
	pol, err := policy.Parse(data)
	switch {
	case err != nil:
		p.failf(l, f.col, "%s: %v", ref.IndexFile, err)
	case len(pol.Logs) != 1:
		p.failf(l, f.col, "%s has %d log lines; an index policy has exactly one, that of %s", ref.IndexFile, len(pol.Logs), ref.File)
	case pol.Logs[0].Key.String() != ref.Policy.Logs[0].Key.String():
		p.failf(l, f.col, "%s is about another log than %s: its log line must name %s", ref.IndexFile, ref.File, ref.Policy.Logs[0].Key)
	case pol.Quorum == policy.None:
		p.failf(l, f.col, "%s says `quorum none`, so nobody would vouch for the index; name auditors and a quorum there, or remove `index %s`", ref.IndexFile, ref.IndexFile)
	default:
		auditor, witness := bothRoles(pol, ref.Policy)
		if auditor == "" {
			ref.IndexPolicy = pol
			return true
		}
		p.failf(l, f.col, "the auditor %s of %s has the key of the witness %s, whom the quorum of %s asks for, and a witness says nothing about an index: "+
			"name auditors, who have keys of their own, or take %s out of the quorum of %s", auditor, ref.IndexFile, witness, ref.File, witness, ref.File)
	}
	return false
}

// bothRoles returns an auditor of an index policy whose key is that of a witness in the quorum of
// a log policy, by its names in both; "" if there is none. Nothing in a cosignature says whether its
// key is that of an auditor (spec/policy.md#index-policies).
func bothRoles(auditors, witnesses *policy.Policy) (auditor, witness string) {
	outside := witnesses.Lint().Outside
	for _, w := range witnesses.Witnesses {
		for _, a := range auditors.Witnesses {
			if bytes.Equal(a.Key.Public, w.Key.Public) && !slices.Contains(outside, w.Name) {
				return a.Name, w.Name
			}
		}
	}
	return "", ""
}
