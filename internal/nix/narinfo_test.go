package nix

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const cacheKey = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="

var comparePaths = cmp.Comparer(func(a, b StorePath) bool { return a == b })

// TestSignedNarInfos: every narinfo of the corpus bears a genuine signature,
// is written back byte for byte, and no signed field can be altered.
func TestSignedNarInfos(t *testing.T) {
	key, err := ParsePublicKey(cacheKey)
	if err != nil {
		t.Fatal(err)
	}
	records := strings.Split(strings.TrimRight(string(corpus(t, "narinfo", "signed.txt")), "\n"), "\n\n")
	if len(records) != 499 {
		t.Errorf("%d records, want 499", len(records))
	}
	for _, rec := range records {
		rec += "\n"
		n, err := ParseNarInfo(DefaultStoreDir, []byte(rec))
		if err != nil {
			t.Errorf("%v\n%s", err, clip(rec))
			continue
		}
		if len(n.Sigs) != 1 || !key.Verify(n.Fingerprint(), n.Sigs[0]) {
			t.Errorf("%v: signature refused", n.Path)
		}
		if got := string(n.Marshal()); !strings.Contains(rec, "CA: ") && got != rec {
			t.Errorf("%v: written back differently:\n%s", n.Path, cmp.Diff(rec, got))
		}
		for name, alter := range map[string]func(*PathInfo){
			"size":       func(i *PathInfo) { i.NarSize++ },
			"hash":       func(i *PathInfo) { i.NarHash[31] ^= 1 },
			"path":       func(i *PathInfo) { i.Path = mustPath(t, somePath+"x") },
			"references": func(i *PathInfo) { i.References = append(i.References, mustPath(t, somePath+"x")) },
		} {
			i := n.PathInfo
			i.References = append([]StorePath(nil), i.References...)
			if alter(&i); key.Verify(i.Fingerprint(), n.Sigs[0]) {
				t.Errorf("%v: accepted with another %s", n.Path, name)
			}
		}
	}
}

const sampleNarInfo = `StorePath: /nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo
URL: nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz
Compression: xz
FileHash: sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3
FileSize: 4029176
NarHash: sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3
NarSize: 34878
References: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar n5wkd9frr45pa74if5gpz9j7mifg27fh-foo
Deriver: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv
System: x86_64-linux
Sig: asdf:AAAA
Sig: qwer:AAAA
CA: fixed:r:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh
Provenance: {"a": "b: c"}
`

func TestNarInfo(t *testing.T) {
	n, err := ParseNarInfo(DefaultStoreDir, []byte(sampleNarInfo))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(n.Marshal()); got != sampleNarInfo {
		t.Errorf("written back differently:\n%s", cmp.Diff(sampleNarInfo, got))
	}
	want := "1;/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo;sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3;34878;" +
		"/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar,/nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo"
	if got := n.Fingerprint(); got != want {
		t.Errorf("fingerprint %s\nwant %s", got, want)
	}
	if diff := cmp.Diff([]Field{{"Provenance", `{"a": "b: c"}`}}, n.Unknown); diff != "" {
		t.Error(diff)
	}
	if n.Ultimate {
		t.Error("a narinfo made a path ultimate")
	}
	// As Nix does: unsorted references with duplicates, other bases, no compression.
	r := strings.NewReplacer(
		"References: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar n5wkd9frr45pa74if5gpz9j7mifg27fh-foo",
		"References: n5wkd9frr45pa74if5gpz9j7mifg27fh-foo g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar n5wkd9frr45pa74if5gpz9j7mifg27fh-foo",
		"Compression: xz\n", "", "Deriver: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv", "Deriver: unknown-deriver",
		"NarHash: sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3", "NarHash: sha256-45ZItsSr/fhG8GbfcYhur4sVbGtVPaxH4W07NIZzLvA=",
	)
	n, err = ParseNarInfo(DefaultStoreDir, []byte(r.Replace(sampleNarInfo)))
	if err != nil {
		t.Fatal(err)
	}
	if got := n.Fingerprint(); got != want {
		t.Errorf("fingerprint %s\nwant %s", got, want)
	}
	if n.Compression != "bzip2" || !n.Deriver.IsZero() {
		t.Errorf("compression %q, deriver %v", n.Compression, n.Deriver)
	}
	// The fingerprint does not rest on the order of the caller's slice.
	n.References[0], n.References[1] = n.References[1], n.References[0]
	if got := n.Fingerprint(); got != want {
		t.Errorf("fingerprint of unsorted references: %s", got)
	}
}

func TestNarInfoRefuses(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(sampleNarInfo, old) {
			t.Fatalf("no %q in the sample", old)
		}
		return strings.Replace(sampleNarInfo, old, new, 1)
	}
	bad := map[string]string{
		"empty":                  "",
		"no end of line":         strings.TrimSuffix(sampleNarInfo, "\n"),
		"no colon":               sampleNarInfo + "word\n",
		"no space":               replace("NarSize: ", "NarSize:"),
		"empty line":             sampleNarInfo + "\n",
		"empty key":              sampleNarInfo + ": x\n",
		"carriage returns":       strings.ReplaceAll(sampleNarInfo, "\n", "\r\n"),
		"NUL":                    sampleNarInfo + "X: \x00\n",
		"no StorePath":           replace("StorePath: /nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo\n", ""),
		"no URL":                 replace("URL: nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz\n", ""),
		"empty URL":              replace("URL: nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz", "URL: "),
		"no NarHash":             replace("NarHash: sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3\n", ""),
		"no NarSize":             replace("NarSize: 34878\n", ""),
		"NarSize 0":              replace("NarSize: 34878", "NarSize: 0"),
		"NarSize with a sign":    replace("NarSize: 34878", "NarSize: +34878"),
		"NarSize with a zero":    replace("NarSize: 34878", "NarSize: 034878"),
		"NarSize of 65 bits":     replace("NarSize: 34878", "NarSize: 18446744073709551616"),
		"SHA-1 NarHash":          replace("NarHash: sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3", "NarHash: sha1:143xibwh31h9bvxzalr0sjvbbvpa6ffs"),
		"two StorePaths":         sampleNarInfo + "StorePath: /nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo\n",
		"two NarHashes":          sampleNarInfo + "NarHash: sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3\n",
		"two NarSizes":           sampleNarInfo + "NarSize: 1\n",
		"two References":         sampleNarInfo + "References: \n",
		"two CAs":                sampleNarInfo + "CA: \n",
		"other store":            replace("/nix/store/", "/gnu/store/"),
		"path below a path":      replace("-foo\n", "-foo/bar\n"),
		"full path as reference": replace("References: ", "References: /nix/store/"),
		"tab after a reference":  replace("-bar n5", "-bar\tn5"),
		"no-break space":         replace("-bar n5", "-bar\u00a0n5"),
		"bad reference":          replace("References: ", "References: .. "),
		"bad deriver":            replace("Deriver: ", "Deriver: /nix/store/"),
		"bad file hash":          replace("FileHash: sha256:", "FileHash: sha257:"),
		"bad CA":                 replace("CA: fixed:r:", "CA: fixed:x:"),
		"too long":               sampleNarInfo + "X: " + strings.Repeat("x", MaxNarInfoLen) + "\n",
		"too many references":    replace("References: ", "References: "+strings.Repeat("n5wkd9frr45pa74if5gpz9j7mifg27fh-foo ", MaxReferences)),
	}
	for name, s := range bad {
		if _, err := ParseNarInfo(DefaultStoreDir, []byte(s)); !errors.Is(err, ErrNarInfo) {
			t.Errorf("%s: %v", name, err)
		}
	}
	n, err := ParseNarInfo(DefaultStoreDir, []byte(sampleNarInfo))
	if err != nil {
		t.Fatal(err)
	}
	good := vector{"all fields", sampleNarInfo, true, map[string]string{"fingerprint": n.Fingerprint()}}
	publish(t, "narinfo", "spec/nix.md#narinfo, of /nix/store", append(rejects(bad), good))
}

func TestKeys(t *testing.T) {
	const secret = "test-key:tU7tTvLcScf8pmz/eTV0BEtLmRsPpZfKaRcd0nCN+pysBZPHSeg61/u2oc7mIOewfuAY1V1BiX32homTaDJ2Jw=="
	sk, err := ParseSecretKey(secret + "\n")
	if err != nil {
		t.Fatal(err)
	}
	pk, err := ParsePublicKey(sk.Public().String())
	if err != nil || pk.Name != "test-key" || !pk.Key.Equal(sk.Public().Key) {
		t.Fatalf("%v, %v", pk, err)
	}
	sig := sk.Sign("1;x")
	if !pk.Verify("1;x", sig) {
		t.Error("own signature refused")
	}
	for name, bad := range map[string]string{
		"another name":   "other" + strings.TrimPrefix(sig, "test-key"),
		"no name":        strings.TrimPrefix(sig, "test-key:"),
		"line break":     sig[:20] + "\n" + sig[20:],
		"trailing space": sig + " ",
		"half of it":     sig[:len(sig)/2],
		"nothing":        "",
	} {
		if pk.Verify("1;x", bad) {
			t.Errorf("%s: accepted", name)
		}
	}
	if pk.Verify("1;y", sig) {
		t.Error("signature of another text accepted")
	}
	other := []byte(secret)
	other[len(other)-10] ^= 1 // still base 64, other public half
	for name, s := range map[string]string{
		"foreign public half": string(other),
		"public key":          cacheKey,
		"no name":             strings.TrimPrefix(secret, "test-key"),
		"two line feeds":      secret + "\n\n",
		"space in the name":   "a b" + strings.TrimPrefix(secret, "test-key"),
		"no colon":            "test-key",
	} {
		if _, err := ParseSecretKey(s); !errors.Is(err, ErrKey) {
			t.Errorf("secret key, %s: %v", name, err)
		} else if strings.Contains(err.Error(), "tU7tTvLcScf8") {
			t.Errorf("secret key, %s: the error quotes the key: %v", name, err)
		}
	}
	for name, s := range map[string]string{
		"secret key":     secret,
		"small order":    "k:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"no point":       "k:AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"not canonical":  "k:8P///////////////////////////////////////38=",
		"no padding":     strings.TrimSuffix(cacheKey, "="),
		"line break":     strings.Replace(cacheKey, "X4", "X\n4", 1),
		"empty":          "",
		"name too long":  strings.Repeat("n", 256) + strings.TrimPrefix(cacheKey, "cache.nixos.org-1"),
		"quote in name":  `a"b` + strings.TrimPrefix(cacheKey, "cache.nixos.org-1"),
		"name not ASCII": `ä` + strings.TrimPrefix(cacheKey, "cache.nixos.org-1"),
	} {
		if _, err := ParsePublicKey(s); !errors.Is(err, ErrKey) {
			t.Errorf("public key, %s: %v", name, err)
		}
	}
}

func FuzzNarInfo(f *testing.F) {
	f.Add([]byte(sampleNarInfo))
	f.Add([]byte("StorePath: /nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo\nURL: x\nNarHash: sha256-FePFYIlMuycIXPZbWi7LGEiMmZSX9FMbaQenWBzm1Sc=\nNarSize: 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNarInfo(DefaultStoreDir, b)
		if err != nil {
			return
		}
		text := n.Marshal()
		again, err := ParseNarInfo(DefaultStoreDir, text)
		if err != nil {
			t.Fatalf("own text refused: %v\n%q", err, text)
		}
		if diff := cmp.Diff(n, again, comparePaths); diff != "" {
			t.Error(diff)
		}
		if !bytes.Equal(again.Marshal(), text) || n.Fingerprint() != again.Fingerprint() {
			t.Error("not stable")
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add(cacheKey)
	f.Add("test-key:tU7tTvLcScf8pmz/eTV0BEtLmRsPpZfKaRcd0nCN+pysBZPHSeg61/u2oc7mIOewfuAY1V1BiX32homTaDJ2Jw==")
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParsePublicKey(s); err == nil && k.String() != strings.TrimSuffix(s, "\n") {
			t.Errorf("%q became %q", s, k)
		}
		if k, err := ParseSecretKey(s); err == nil {
			if len(k.Key) != ed25519.PrivateKeySize || !k.Public().Verify("m", k.Sign("m")) {
				t.Errorf("%q does not sign", s)
			}
		}
	})
}
