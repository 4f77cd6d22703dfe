package witness

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A gate keeps back what the steps would grant, and is asked about nothing else.
func TestGate(t *testing.T) {
	w := newWorld(t)
	var refuse error
	asked := 0
	w.gate = func(_ context.Context, req *Request) error {
		asked++
		return refuse
	}
	w.must(400, []byte("nonsense"))
	w.must(409, w.log.Request(3, 5))
	if asked != 0 {
		t.Errorf("asked about what is refused anyway, %d times", asked)
	}
	refuse = &Refusal{Status: 503, Rule: "audit", Reason: "not yet", RetryAfter: time.Second}
	w.must(503, w.log.Request(0, 5))
	refuse = errors.New("broken")
	w.must(500, w.log.Request(0, 5))
	if w.latest() != "" || asked != 2 {
		t.Errorf("kept %q, asked %d times", w.latest(), asked)
	}
	refuse = nil
	w.cosigned(w.log.Request(0, 5))
	w.cosigned(w.log.Request(5, 9))
}

// While the gate thinks, another request is granted: the first is refused by the
// state as it then is.
func TestGateIsOvertaken(t *testing.T) {
	w := newWorld(t)
	inner := false
	w.gate = func(context.Context, *Request) error {
		if !inner {
			inner = true
			w.cosigned(w.log.Request(0, 9))
		}
		return nil
	}
	if got := w.must(409, w.log.Request(0, 5)); got != "9\n" {
		t.Errorf("the answer is %q", got)
	}
}
