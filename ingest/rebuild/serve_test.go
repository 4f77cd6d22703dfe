package rebuild

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
)

const smallDrv = `Derive([("out","/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-x","","")],[],[],"x86_64-linux","/bin/sh",["-c","true"],[("out","/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-x")])`

func words(values ...any) []byte {
	var b []byte
	for _, v := range values {
		switch v := v.(type) {
		case int:
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		case string:
			b = binary.LittleEndian.AppendUint64(b, uint64(len(v)))
			b = append(b, v...)
			b = append(b, make([]byte, -len(v)&7)...)
		}
	}
	return b
}

func smallDerivation(t testing.TB) *nix.Derivation {
	t.Helper()
	d, err := nix.ParseDerivation(nix.DefaultStoreDir, "x", []byte(smallDrv))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestServeSendsTheDerivationWithItsInputs(t *testing.T) {
	d := smallDerivation(t)
	src, err := nix.ParseStorePath("/nix/store/1j66c4adj7fp5a53zcj7qm2ghbs9c1vi-src")
	if err != nil {
		t.Fatal(err)
	}
	var to bytes.Buffer
	answer := words(serveMagic2, 0x207, 0, "", 1, 0, 100, 200)
	res, err := serveBuild(&to, bytes.NewReader(answer), d, []nix.StorePath{src}, serveLimits{1, 2, 3})
	if err != nil || !res.built() || res.started != 100 || res.finished != 200 {
		t.Errorf("%+v, %v", res, err)
	}
	want := words(serveMagic1, serveVersion, cmdBuild, d.DrvPath().String(), 1, "out", d.Outputs[0].Path, "", "", 1, src.String(),
		"x86_64-linux", "/bin/sh", 2, "-c", "true", 1, "out", d.Outputs[0].Path, 1, 2, 3, 0, 0)
	if !bytes.Equal(to.Bytes(), want) {
		t.Errorf("sent %q\nwant %q", to.Bytes(), want)
	}
}

func TestServeRefusesOtherAnswers(t *testing.T) {
	d := smallDerivation(t)
	for name, tt := range map[string]struct {
		answer []byte
		want   error
	}{
		"nothing":         {nil, io.EOF},
		"a banner":        {[]byte("Welcome to my machine\n"), errServe},
		"another version": {words(serveMagic2, 0x305), errServe},
		"an old version":  {words(serveMagic2, 0x202), errServe},
		"half an answer":  {words(serveMagic2, 0x207, 3), io.EOF},
		"a long message":  {words(serveMagic2, 0x207, 3, 1<<40), errServe},
	} {
		if _, err := serveBuild(io.Discard, bytes.NewReader(tt.answer), d, nil, serveLimits{}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func FuzzServeAnswer(f *testing.F) {
	f.Add(words(serveMagic2, 0x207, 0, "", 1, 0, 100, 200))
	f.Add(words(serveMagic2, 0x207, 3, "builder failed", 1, 0, 100, 200))
	f.Add(words(serveMagic2, 0x207, 3, 1<<62))
	d := smallDerivation(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		res, err := serveBuild(io.Discard, bytes.NewReader(b), d, nil, serveLimits{})
		if err == nil {
			// What was read is what is there.
			n := words(int(serveMagic2), int(binary.LittleEndian.Uint64(b[8:])), int(res.status), res.message)
			if !bytes.Equal(n[:24], b[:24]) || !bytes.Contains(b, []byte(res.message)) {
				t.Errorf("%+v from %q", res, b)
			}
		}
		classify(&res, false)
	})
}

func TestFailuresAreClassified(t *testing.T) {
	for _, tt := range []struct {
		status  uint64
		message string
		oom     bool
		want    string
	}{
		{3, "\x1b[0mbuilder for '\x1b[35;1m/nix/store/x.drv\x1b[0m' failed with exit code 3;", false, "exit"},
		{3, "builder for 'x' failed due to signal 9 (Killed)", false, ""}, // not its own doing
		{3, "builder for 'x' failed due to signal 9 (Killed)", true, "oom"},
		{3, "builder for 'x' failed due to signal 11 (Segmentation fault)", true, "exit"},
		{3, "Cannot build 'x'.\nReason: builder failed with exit code 7.", false, "exit"},
		{5, "hash mismatch in fixed-output derivation 'x':", false, "hash-mismatch"},
		{15, "hash mismatch", false, "hash-mismatch"},
		{5, "failed to produce output path for output 'out'", false, "exit"},
		{8, "timed out after 3 seconds", false, "timeout"},
		{11, "killed after writing more than 100 bytes", false, reasonLog},
		{6, "builder for 'x' failed with exit code 1", false, ""}, // the network, or the disk
		{9, "while setting up the build environment", false, ""},
		{4, "a 'riscv' is required to build 'x'", false, ""},
	} {
		got := classify(&serveResult{status: tt.status, message: tt.message}, tt.oom)
		if (got == nil) != (tt.want == "") || got != nil && got.Reason != tt.want {
			t.Errorf("%d %q: %+v, want %q", tt.status, tt.message, got, tt.want)
		}
		if got != nil && strings.ContainsAny(got.Message, "\x1b\n") {
			t.Errorf("message %q", got.Message)
		}
	}
	if f := classify(&serveResult{status: 3, message: "failed with exit code 3"}, false); f.ExitStatus == nil || *f.ExitStatus != 3 {
		t.Errorf("%+v", f)
	}
}
