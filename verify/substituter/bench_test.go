package substituter

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
)

// BenchmarkWarmNarInfos answers for narinfos of which 100,000 decisions are kept, each with 30
// references and 300 bytes of answers of logs, over loopback HTTP, and reports the memory of the process. The limit beside
// it is signing alone.
func BenchmarkWarmNarInfos(b *testing.B) {
	const many = 100_000
	debug.SetGCPercent(50) // as the program does
	w := newWorld(b)
	w.start(refuseRule)
	r := w.s.rules.Load()
	var refs []string
	for i := range 30 {
		refs = append(refs, fmt.Sprint("a-library-with-a-usual-name-", i, ".0"))
	}
	n := info(b, "app", "text", refs...)
	pack(n, narOf(b, "text"))
	n.Sigs = []string{cacheKey.Sign(n.Fingerprint())}
	names := make([]string, 0, many)
	var all []*decision
	for i := range many {
		h := sha256.Sum256(fmt.Append(nil, i))
		one := *n
		var err error
		if one.Path, err = storeDir.FromBase(nix.EncodeBase32(h[:20]) + "-app"); err != nil {
			b.Fatal(err)
		}
		names = append(names, one.Path.HashPart())
		all = append(all, &decision{info: &one, upstream: w.caches[0].url, verdict: verify.Trusted, reason: "2 of 3 needed, 2 found", rule: "default", policy: r.id, at: w.now, answers: make([]byte, 300)})
		w.s.sign(all[len(all)-1])
		if len(all) == 1000 {
			if err := w.s.store.put(all); err != nil {
				b.Fatal(err)
			}
			all = all[:0]
		}
	}
	clear(all[:cap(all)])
	debug.FreeOSMemory()
	b.Run("narinfo", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				resp, err := http.Get(w.url + "/" + names[i*7919%many] + ".narinfo")
				if err != nil {
					b.Fatal(err)
				}
				if resp.StatusCode != 200 {
					b.Fatal(resp.Status)
				}
				drain(resp)
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "narinfos/s")
		b.ReportMetric(residentMiB(b), "RSS-MiB")
	})
	b.Run("handler", func(b *testing.B) {
		h := w.s.Handler()
		for i := 0; b.Loop(); i++ {
			rec := httptest.NewRecorder()
			req := httptest.NewRequest(http.MethodGet, "http://localhost/"+names[i*7919%many]+".narinfo", nil)
			if h.ServeHTTP(rec, req); rec.Code != 200 {
				b.Fatal(rec.Body)
			}
		}
	})
	small := info(b, "small", "text")
	w.caches[0].has(small, "text", cacheKey)
	one := *small
	if err := w.s.store.put([]*decision{{info: &one, upstream: w.caches[0].url, verdict: verify.Trusted, policy: r.id, at: w.now}}); err != nil {
		b.Fatal(err)
	}
	b.Run("nar", func(b *testing.B) {
		h := w.s.Handler()
		for b.Loop() {
			rec := httptest.NewRecorder()
			req := httptest.NewRequest(http.MethodGet, "http://localhost/nar/"+narName(small), nil)
			if h.ServeHTTP(rec, req); rec.Code != 200 {
				b.Fatal(rec.Body)
			}
		}
	})
	b.Run("nar-upstream", func(b *testing.B) { // the limit beside it
		for b.Loop() {
			resp, err := http.Get(w.caches[0].url + "/" + small.URL)
			if err != nil {
				b.Fatal(err)
			}
			drain(resp)
		}
	})
	b.Run("signing", func(b *testing.B) {
		for b.Loop() {
			localKey.Sign(n.Fingerprint())
		}
	})
}

func drain(resp *http.Response) {
	var buf [4096]byte
	for {
		if _, err := resp.Body.Read(buf[:]); err != nil {
			break
		}
	}
	resp.Body.Close()
}

// residentMiB is the memory of this process.
func residentMiB(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	var kib float64
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			fmt.Sscan(rest, &kib)
		}
	}
	return kib / 1024
}
