// Package dropfs is a file system for tests that forgets what was not synced: it
// keeps unsynced data and names in memory and drops them at a simulated power
// cut. A killed process keeps its page cache, so only this shows that files and
// folders were synced before something was acknowledged.
package dropfs

import (
	"maps"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/firn-log/firn/internal/testreq"
)

// A Disk is a file system in memory that knows for every file and folder what is
// durable: the bytes of a file as of its last fsync (or O_SYNC write), the
// names in a folder as of the folder's last fsync. It is as forgetful as POSIX
// allows.
type Disk struct {
	mu       sync.Mutex // guards every object of the disk and what follows
	root     *object
	nextIno  uint64
	off      bool // power is cut: nothing works
	full     bool // nothing grows
	readOnly bool // nothing is written
	syncs    int  // fsyncs so far
}

// object is a file, folder or symbolic link.
type object struct {
	ino    uint64
	mode   uint32 // type and permissions
	target string // of a link

	data, durable       []byte
	names, durableNames map[string]*object
	links               int
}

// New returns an empty disk.
func New() *Disk {
	d := &Disk{nextIno: 1}
	d.root = d.object(syscall.S_IFDIR | 0o755)
	return d
}

// object makes an object. The caller holds mu, or is alone.
func (d *Disk) object(mode uint32) *object {
	o := &object{ino: d.nextIno, mode: mode, links: 1}
	d.nextIno++
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		o.names, o.durableNames = make(map[string]*object), make(map[string]*object)
	}
	return o
}

// Cut ends everything at once and returns the disk as it is when power comes
// back: only what was durable.
func (d *Disk) Cut() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	again := &Disk{nextIno: d.nextIno}
	seen := make(map[*object]*object)
	again.root = survive(d.root, seen)
	return again
}

func survive(o *object, seen map[*object]*object) *object {
	if s, ok := seen[o]; ok {
		s.links++
		return s
	}
	s := &object{ino: o.ino, mode: o.mode, target: o.target, links: 1}
	seen[o] = s
	s.data = append([]byte(nil), o.durable...)
	s.durable = append([]byte(nil), o.durable...)
	if o.names != nil {
		s.names, s.durableNames = make(map[string]*object), make(map[string]*object)
		for name, child := range o.durableNames {
			c := survive(child, seen)
			s.names[name], s.durableNames[name] = c, c
		}
	}
	return s
}

// Set changes what works: on a full disk nothing grows, on a read-only one
// nothing is written.
func (d *Disk) Set(full, readOnly bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full, d.readOnly = full, readOnly
}

// begin locks the disk for one operation and says whether it may go on.
func (d *Disk) begin(writing bool) syscall.Errno {
	d.mu.Lock()
	switch {
	case d.off:
		return syscall.EIO
	case writing && d.readOnly:
		return syscall.EROFS
	}
	return 0
}

// sync makes an object durable. The caller holds mu.
func (d *Disk) sync(o *object) {
	d.syncs++
	if o.names != nil {
		o.durableNames = maps.Clone(o.names)
		return
	}
	o.durable = append([]byte(nil), o.data...)
}

// Mount mounts d in a temporary folder and returns the folder and a function
// that takes it away.
func Mount(t testing.TB, d *Disk) (dir string, unmount func()) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		testreq.Missing(t, "fuse", err.Error())
	}
	if os.Getuid() != 0 {
		testreq.Missing(t, "fuse", "mounting needs root")
	}
	dir = t.TempDir()
	server, err := fs.Mount(dir, &node{d: d, o: d.root}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, DisableXAttrs: true, FsName: "dropfs", Name: "dropfs"},
	})
	if err != nil {
		testreq.Missing(t, "fuse", err.Error())
	}
	unmount = sync.OnceFunc(func() {
		if err := server.Unmount(); err != nil {
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
		server.Wait()
	})
	t.Cleanup(unmount)
	return dir, unmount
}
