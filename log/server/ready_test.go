package server

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/policy"
)

// A log that cannot sign looks alive, and is not ready.
func TestNotReadyWhileNothingCanBeSigned(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	move := func(to string) {
		l.signer.mu.Lock()
		defer l.signer.mu.Unlock()
		l.signer.path = to
	}
	good := l.signer.path
	move(filepath.Join(l.dir, "missing", recordName))
	if status, a := l.post("?wait=0s", o.Builds(0, 1)...); status != http.StatusAccepted || a.Results[0].Status != statusAccepted {
		t.Fatalf("%d %+v", status, a)
	}
	size := l.db.State().Size
	head := policy.Head{Origin: l.Origin(), Size: size, Root: want(l.tree.Root(t.Context(), size))(t)}
	if _, err := l.signer.Sign([]byte(head.Text())); err == nil {
		t.Fatal("signed without a record")
	}
	if status, _, body := l.get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(string(body), "writing the record") {
		t.Errorf("%d %s", status, body)
	}
	move(good)
	if _, err := l.publisher.wait(t.Context(), size); err != nil { // it tries again by itself
		t.Fatal(err)
	}
	if status, _, body := l.get("/readyz"); status != http.StatusOK {
		t.Errorf("after the disk recovered: %d %s", status, body)
	}
}
