package policy

import (
	"errors"
	"fmt"
	"strings"
)

// MaxPolicy bounds a policy file in bytes.
const MaxPolicy = 1 << 20

// Parse reads a c2sp.org/tlog-policy file. It is strict: an unknown word, a
// name used before its line or twice, a key that appears twice, a second quorum
// line or none, a carriage return or a last line that is cut off are errors
// that name the line.
func Parse(b []byte) (*Policy, error) {
	if len(b) > MaxPolicy {
		return nil, fmt.Errorf("log policy: longer than %d bytes", MaxPolicy)
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		return nil, errors.New("log policy: the last line does not end in a newline; the file may be cut off")
	}
	r := &reader{
		p: &Policy{
			logs:      make(map[keyName]*Log),
			witnesses: make(map[keyName]*Witness),
		},
		names:       make(map[string]bool),
		members:     make(map[string]bool),
		logKeys:     make(map[string]bool),
		witnessKeys: make(map[string]bool),
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		if err := r.line(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, fmt.Errorf("log policy, line %d: %w", n, err)
		}
	}
	if r.p.Quorum == "" {
		return nil, errors.New("log policy: no quorum line; write `quorum none` to ask for no witness")
	}
	r.index()
	return r.p, nil
}

// reader holds what Parse has seen so far.
type reader struct {
	p           *Policy
	names       map[string]bool // witnesses and groups share one name space
	members     map[string]bool // names that are already in a group
	logKeys     map[string]bool // raw public keys
	witnessKeys map[string]bool
}

func (r *reader) line(line string) error {
	for i := range len(line) {
		if c := line[i]; c != '\t' && (c < 0x20 || c == 0x7f) {
			return fmt.Errorf("octet 0x%02x is not allowed", c)
		}
	}
	words := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' })
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	switch args := words[1:]; words[0] {
	case "log":
		return r.log(args)
	case "witness":
		return r.witness(args)
	case "group":
		return r.group(args)
	case "quorum":
		return r.quorum(args)
	default:
		return fmt.Errorf("%q is none of log, witness, group and quorum", words[0])
	}
}

func (r *reader) log(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("want: log VKEY [URL]")
	}
	key, err := ParseKey(args[0])
	if err != nil {
		return err
	}
	if key.Type == TypeCosignature {
		return errors.New("the key of a log is an Ed25519 note key (type 0x01), this is a witness's (0x04)")
	}
	if r.logKeys[string(key.Public)] {
		return errors.New("this public key is already that of a log")
	}
	for _, l := range r.p.Logs {
		if l.Key.Name == key.Name && l.Key.ID == key.ID {
			return errors.New("another log has a key of this name and id")
		}
	}
	r.logKeys[string(key.Public)] = true
	l := Log{Key: key}
	if len(args) == 2 {
		l.URL = args[1]
	}
	r.p.Logs = append(r.p.Logs, l)
	return nil
}

func (r *reader) witness(args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return errors.New("want: witness NAME VKEY [URL]")
	}
	if err := r.define(args[0]); err != nil {
		return err
	}
	key, err := ParseKey(args[1])
	if err != nil {
		return err
	}
	if key.Type == TypeEd25519 {
		return errors.New("the key of a witness is a cosignature key (type 0x04 or 0x06), this is a log's (0x01)")
	}
	if r.witnessKeys[string(key.Public)] {
		return errors.New("this public key is already that of a witness")
	}
	for _, w := range r.p.Witnesses {
		if w.Key.Name == key.Name && w.Key.ID == key.ID {
			return errors.New("another witness has a key of this name and id")
		}
	}
	r.witnessKeys[string(key.Public)] = true
	w := Witness{Name: args[0], Key: key}
	if len(args) == 3 {
		w.URL = args[2]
	}
	r.p.Witnesses = append(r.p.Witnesses, w)
	return nil
}

func (r *reader) group(args []string) error {
	if len(args) < 3 {
		return errors.New("want: group NAME all|any|K MEMBER [MEMBER]")
	}
	name, k, members := args[0], args[1], args[2:]
	for _, m := range members {
		switch {
		case m == None:
			return errors.New("none cannot be a member")
		case !r.names[m]:
			return fmt.Errorf("%q is not a witness or group of an earlier line", m)
		case r.members[m]:
			return fmt.Errorf("%q is already a member of a group", m)
		}
		r.members[m] = true
	}
	if err := r.define(name); err != nil {
		return err
	}
	g := Group{Name: name, Members: members}
	switch k {
	case "all":
		g.K = len(members)
	case "any":
		g.K = 1
	default:
		n, err := ParseDecimal(k)
		if err != nil || n < 1 || n > uint64(len(members)) {
			return fmt.Errorf("%q is not all, any or a number from 1 to %d", k, len(members))
		}
		g.K = int(n)
	}
	r.p.Groups = append(r.p.Groups, g)
	return nil
}

func (r *reader) quorum(args []string) error {
	if len(args) != 1 {
		return errors.New("want: quorum NAME, or quorum none")
	}
	if r.p.Quorum != "" {
		return errors.New("a second quorum line")
	}
	if args[0] != None && !r.names[args[0]] {
		return fmt.Errorf("%q is not a witness or group of an earlier line", args[0])
	}
	r.p.Quorum = args[0]
	return nil
}

func (r *reader) define(name string) error {
	if name == None {
		return errors.New("none is the name of the empty quorum")
	}
	if r.names[name] {
		return fmt.Errorf("%q is already defined", name)
	}
	r.names[name] = true
	return nil
}

func (r *reader) index() {
	for i := range r.p.Logs {
		l := &r.p.Logs[i]
		r.p.logs[keyName{l.Key.Name, l.Key.ID}] = l
	}
	for i := range r.p.Witnesses {
		w := &r.p.Witnesses[i]
		r.p.witnesses[keyName{w.Key.Name, w.Key.ID}] = w
	}
}
