// Package place says where a directory lives.
//
// A program that must never sign in an older copy of its own state keeps the
// place beside the state. A copy that was restored from a backup or moved to
// another machine lives elsewhere, and may be older than what the original has
// signed since.
package place

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A Place is where a directory lives. The zero Place is nowhere.
type Place struct {
	Machine    string // hash of the machine id, so that the id itself is not copied about; "none" if there is none
	FileSystem string // file-system id in hexadecimal
	Directory  string // inode and birth time of the directory
}

// Find returns where dir is. What a system does not tell is left at a constant,
// which then never differs.
func Find(dir string) (Place, error) {
	p := Place{Machine: "none"}
	if b, err := os.ReadFile("/etc/machine-id"); err == nil {
		if id := strings.TrimSpace(string(b)); id != "" {
			h := sha256.Sum256([]byte("firn-log machine\n" + id))
			p.Machine = hex.EncodeToString(h[:8])
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return p, fmt.Errorf("asking for the file system of %s: %w", dir, err)
	}
	p.FileSystem = fmt.Sprintf("%08x%08x", uint32(fs.Fsid.Val[0]), uint32(fs.Fsid.Val[1]))
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return p, fmt.Errorf("asking for the inode of %s: %w", dir, err)
	}
	p.Directory = fmt.Sprintf("%d", st.Ino)
	if st.Mask&unix.STATX_BTIME != 0 {
		p.Directory += fmt.Sprintf("@%d.%09d", st.Btime.Sec, st.Btime.Nsec)
	}
	return p, nil
}

// Differs says in words what is not the same, or "".
func (p Place) Differs(q Place) string {
	var what []string
	if p.Machine != q.Machine {
		what = append(what, "the machine")
	}
	if p.FileSystem != q.FileSystem {
		what = append(what, "the file system")
	}
	if p.Directory != q.Directory {
		what = append(what, "the directory itself")
	}
	return strings.Join(what, " and ")
}
