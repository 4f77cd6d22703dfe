package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func env(of map[string]string) func(string) string {
	return func(name string) string { return of[name] }
}

func TestMain(m *testing.M) {
	if os.Getenv("DAEMON_TEST_HANDED") == "" {
		os.Exit(m.Run())
	}
	// What systemd starts has its own process id in LISTEN_PID, and the socket as its file 3.
	ln, handed, err := Listen(env(map[string]string{"LISTEN_PID": strconv.Itoa(os.Getpid()), "LISTEN_FDS": "1"}), "127.0.0.1:1")
	if err != nil || !handed {
		os.Exit(1)
	}
	io.WriteString(os.Stdout, ln.Addr().String())
	os.Exit(0)
}

func TestASocketOfSystemdIsUsed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DAEMON_TEST_HANDED=1")
	cmd.ExtraFiles = []*os.File{f}
	if out, err := cmd.Output(); err != nil || string(out) != ln.Addr().String() {
		t.Errorf("%q, %v; want %s", out, err, ln.Addr())
	}
}

func TestSocketsThatAreNotForThisProgram(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	if _, _, err := Listen(env(map[string]string{"LISTEN_PID": own, "LISTEN_FDS": "2"}), "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "systemd hands over 2 sockets, not one") {
		t.Errorf("%v", err)
	}
	for _, of := range []map[string]string{{}, {"LISTEN_PID": own}, {"LISTEN_PID": own + "0", "LISTEN_FDS": "1"}, {"LISTEN_FDS": "1"}} {
		ln, handed, err := Listen(env(of), "127.0.0.1:0")
		if err != nil || handed {
			t.Errorf("%v: handed %t, %v", of, handed, err)
			continue
		}
		ln.Close()
	}
}

// Who is being answered when a program is to stop gets the answer; nobody else gets one.
func TestServeLetsWhatIsOnItsWayEnd(t *testing.T) {
	ln, _, err := Listen(env(nil), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came, goOn := make(chan bool), make(chan bool)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(came)
		<-goOn
		io.WriteString(w, "all of it")
	})}
	down := make(chan bool)
	srv.RegisterOnShutdown(func() { close(down) })
	ctx, stop := context.WithCancel(t.Context())
	served, answer := make(chan error, 1), make(chan string, 1)
	go func() { served <- Serve(ctx, ln, srv) }()
	go func() {
		resp, err := http.Get("http://" + ln.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answer <- string(b)
	}()
	<-came
	stop()
	<-down
	if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
	close(goOn)
	if got := <-answer; got != "all of it" {
		t.Errorf("answered %q", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestServeTellsOfAListenerThatFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := Serve(t.Context(), ln, &http.Server{}); err == nil {
		t.Error("nothing is served, and no error")
	}
}
