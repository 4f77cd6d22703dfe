package statement

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// NewRealisation makes the body about what Nix recorded. It holds the signatures that
// verify by one of keys, at most one by each; all others are left out. An [*Error]
// says why it is no statement.
func NewRealisation(r *nix.Realisation, by Builder, keys []nix.PublicKey) (*Realisation, error) {
	b := &Realisation{StoreDir: r.OutPath.Dir(), Output: r.Output, Path: r.OutPath, Builder: by}
	form := uint64(SigByModulo)
	if r.Form == nix.ByDrvPath {
		form, b.Drv = SigByDrvPath, &r.DrvPath
	} else {
		b.Modulo = &r.Modulo
	}
	for _, d := range r.Dependent {
		modulo, output, err := nix.ParseRealisationID(d.ID)
		if err != nil {
			return nil, errf(CodeBadValue, "realisation: dependency: %v", err)
		}
		b.Deps = append(b.Deps, RealisationDep{Modulo: &modulo, Output: output, Path: d.OutPath})
	}
	fingerprint := string(r.Fingerprint())
	for _, sig := range r.Sigs {
		for _, k := range keys {
			_, text, ok := strings.Cut(sig, ":")
			raw, err := base64.StdEncoding.DecodeString(text)
			if !ok || err != nil || len(raw) != rawSigSize || !k.Verify(fingerprint, sig) {
				continue
			}
			s := NixSig{KeyName: k.Name, Key: [32]byte(k.Key), Sig: [64]byte(raw), Form: form}
			if !slices.ContainsFunc(b.NixSigs, func(o NixSig) bool { return o.Key == s.Key }) {
				b.NixSigs = append(b.NixSigs, s)
			}
		}
	}
	slices.SortFunc(b.NixSigs, func(s, t NixSig) int { return s.compare(&t) })
	return b, b.Check()
}
