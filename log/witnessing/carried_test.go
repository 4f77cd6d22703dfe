package witnessing

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/log/policy"
)

// besides adds lines to every answer of a witness that is a cosignature.
type besides struct {
	http.RoundTripper
	lines func() []policy.Signature
}

func (b besides) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.HasSuffix(r.URL.Path, "/add-checkpoint") {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	for _, l := range b.lines() {
		body = append(body, l.String()...)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, err
}

// An ML-DSA line that comes with a cosignature is in the public checkpoint as it came if
// the policy names its key with the same URL, is there after a restart, and makes no quorum.
func TestMLDSALinesOfAnAnswerAreCarriedAndNeverCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := func(fill byte) policy.Key {
			k, err := policy.NewKey("witness.example/pq", policy.TypeMLDSA, bytes.Repeat([]byte{fill}, 1312))
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		at := time.Now()
		line := func(k policy.Key, length int) policy.Signature {
			sig := append(binary.BigEndian.AppendUint64(nil, uint64(at.Unix())), bytes.Repeat([]byte{7}, length)...)
			return policy.Signature{Name: k.Name, ID: k.ID, Sig: sig}
		}
		same, elsewhere, unknown, short := key(1), key(2), key(3), key(4)
		var options CollectorOptions
		l := newWitnessed(t, 2, 2, func(o *CollectorOptions) {
			text := strings.Replace(o.Policy.String(), "group ", "witness pq "+same.String()+" http://w1.example\nwitness short "+short.String()+
				" http://w1.example\nwitness far "+elsewhere.String()+" http://w2.example\ngroup ", 1)
			var err error
			if o.Policy, err = policy.Parse([]byte(text)); err != nil {
				t.Fatal(err)
			}
			hosts := o.Client.Transport
			o.Client.Transport = besides{hosts, func() []policy.Signature {
				return []policy.Signature{line(same, 2420), line(unknown, 2420), line(short, 2419)}
			}}
			options = *o
		})
		l.Offer(l.grow(t, 3, "x"))
		l.wantPublic(3, "w1 w2")
		cp, _ := l.Public()
		if n := strings.Count(string(cp.Note), "witness.example/pq"); n != 1 || !strings.Contains(string(cp.Note), line(same, 2420).String()) {
			t.Errorf("%d ML-DSA lines:\n%s", n, cp.Note)
		}
		again, err := NewCollector(options)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Restore(cp.Note); err != nil {
			t.Fatal(err)
		}
		if got, _ := again.Public(); string(got.Note) != string(cp.Note) {
			t.Errorf("after a restart:\n%s\nwas\n%s", got.Note, cp.Note)
		}
		if names := again.Names(); len(names) != 2 {
			t.Errorf("asked and counted are %q", names)
		}
	})
}
