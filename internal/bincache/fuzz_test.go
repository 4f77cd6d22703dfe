package bincache

import "testing"

func FuzzInfo(f *testing.F) {
	f.Add([]byte("StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n"))
	f.Add([]byte("StoreDir:/a/b\r\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir, err := ParseInfo(b)
		if err != nil {
			return
		}
		if again, err := ParseInfo([]byte("StoreDir: " + string(dir) + "\n")); err != nil || again != dir {
			t.Errorf("%q gives %q, then %q: %v", b, dir, again, err)
		}
	})
}
