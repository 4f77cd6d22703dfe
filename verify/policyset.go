package verify

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// PolicyFileName is what the policy in a set, and in a folder, is called.
const PolicyFileName = "firn.policy"

// maxSetBytes bounds a policy set.
const maxSetBytes = 4 << 20

// PolicySet is a policy and the log and index policies that it names, in one file, so that one
// hash is about all of them (spec/policy.md#policy-sets).
type PolicySet struct {
	Files []SetFile // firn.policy is the first
}

// SetFile is one file of a set.
type SetFile struct {
	Name string
	Data []byte // ends in a line feed
}

// ParsePolicySet reads a set. It checks its form; [PolicySet.Policy] reads what is in it.
// What it accepts, Bytes gives back byte by byte.
func ParsePolicySet(b []byte) (*PolicySet, error) {
	if len(b) > maxSetBytes {
		return nil, fmt.Errorf("a policy set has at most %d bytes, this one has %d", maxSetBytes, len(b))
	}
	s := new(PolicySet)
	n := 0
	for l := range bytes.Lines(b) {
		n++
		if l[len(l)-1] != '\n' {
			return nil, fmt.Errorf("line %d of the policy set does not end; the file may be cut off", n)
		}
		name, marker := strings.CutPrefix(string(l), "-- ")
		switch {
		case marker:
			name, marker = strings.CutSuffix(name, " --\n")
			if !marker || !isSetName(name) {
				return nil, fmt.Errorf("line %d of the policy set begins a file, and its name is not letters, digits, - and dots", n)
			}
			if slices.ContainsFunc(s.Files, func(f SetFile) bool { return f.Name == name }) {
				return nil, fmt.Errorf("line %d of the policy set begins %s a second time", n, name)
			}
			s.Files = append(s.Files, SetFile{Name: name})
		case len(s.Files) == 0:
			return nil, errors.New("this is no policy set: it does not begin with `-- firn.policy --`")
		default:
			f := &s.Files[len(s.Files)-1]
			f.Data = append(f.Data, l...)
		}
	}
	if len(s.Files) == 0 || s.Files[0].Name != PolicyFileName {
		return nil, errors.New("this is no policy set: it does not begin with `-- firn.policy --`")
	}
	return s, nil
}

func isSetName(name string) bool {
	return name != "" && len(name) <= maxNameBytes && name[0] != '.' && name[0] != '-' &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

// Bytes returns the set as ParsePolicySet reads it.
func (s *PolicySet) Bytes() []byte {
	var b bytes.Buffer
	for _, f := range s.Files {
		fmt.Fprintf(&b, "-- %s --\n", f.Name)
		b.Write(f.Data)
	}
	return b.Bytes()
}

// Policy parses the policy of the set, which must name every other file in it and none
// beside it. name stands for firn.policy in errors.
func (s *PolicySet) Policy(name string) (*Policy, error) {
	used := map[string]bool{PolicyFileName: true}
	pol, err := ParsePolicy(name, s.Files[0].Data, func(file string) ([]byte, error) {
		used[file] = true
		for _, f := range s.Files[1:] {
			if f.Name == file {
				return f.Data, nil
			}
		}
		return nil, fmt.Errorf("%w in the policy set", fs.ErrNotExist)
	})
	if err != nil {
		return nil, err
	}
	for _, f := range s.Files {
		if !used[f.Name] {
			return nil, fmt.Errorf("%s is in the policy set, and nothing in firn.policy names it", f.Name)
		}
	}
	return pol, nil
}

// PackPolicy makes a set of the policy at path and the files that it names, which must lie beside it.
func PackPolicy(path string) (*PolicySet, error) {
	pol, err := LoadPolicy(path)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &PolicySet{Files: []SetFile{{PolicyFileName, data}}}
	for _, l := range pol.Logs {
		for _, name := range []string{l.File, l.IndexFile} {
			if name == "" || slices.ContainsFunc(s.Files, func(f SetFile) bool { return f.Name == name }) {
				continue
			}
			if !isSetName(name) {
				return nil, fmt.Errorf("%s cannot be in a policy set: its name is not letters, digits, - and dots; put it beside the policy", name)
			}
			data, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
			if err != nil {
				return nil, err
			}
			s.Files = append(s.Files, SetFile{name, data})
		}
	}
	again, err := ParsePolicySet(s.Bytes())
	if err != nil {
		return nil, err
	}
	if _, err := again.Policy(path); err != nil {
		return nil, err
	}
	return again, nil
}
