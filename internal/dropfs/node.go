package dropfs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is an object as the kernel sees it.
type node struct {
	fs.Inode
	d *Disk
	o *object
}

// handle is an open file; with O_SYNC every write is durable.
type handle struct{ sync bool }

var (
	_ fs.NodeLookuper   = (*node)(nil)
	_ fs.NodeGetattrer  = (*node)(nil)
	_ fs.NodeSetattrer  = (*node)(nil)
	_ fs.NodeOpener     = (*node)(nil)
	_ fs.NodeCreater    = (*node)(nil)
	_ fs.NodeReader     = (*node)(nil)
	_ fs.NodeWriter     = (*node)(nil)
	_ fs.NodeFsyncer    = (*node)(nil)
	_ fs.NodeFlusher    = (*node)(nil)
	_ fs.NodeMkdirer    = (*node)(nil)
	_ fs.NodeUnlinker   = (*node)(nil)
	_ fs.NodeRmdirer    = (*node)(nil)
	_ fs.NodeRenamer    = (*node)(nil)
	_ fs.NodeLinker     = (*node)(nil)
	_ fs.NodeSymlinker  = (*node)(nil)
	_ fs.NodeReadlinker = (*node)(nil)
	_ fs.NodeReaddirer  = (*node)(nil)
	_ fs.NodeStatfser   = (*node)(nil)
)

// child returns the kernel's inode of o. The caller holds mu.
func (n *node) child(ctx context.Context, o *object) *fs.Inode {
	return n.NewInode(ctx, &node{d: n.d, o: o}, fs.StableAttr{Mode: o.mode & syscall.S_IFMT, Ino: o.ino})
}

func (o *object) attr(a *fuse.Attr) {
	a.Ino, a.Mode, a.Size, a.Nlink = o.ino, o.mode, uint64(len(o.data)), uint32(o.links)
	a.Blksize, a.Blocks = 4096, (a.Size+511)/512
	if o.target != "" {
		a.Size = uint64(len(o.target))
	}
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	errno := n.d.begin(false)
	defer n.d.mu.Unlock()
	if errno != 0 {
		return nil, errno
	}
	o, ok := n.o.names[name]
	if !ok {
		return nil, syscall.ENOENT
	}
	o.attr(&out.Attr)
	return n.child(ctx, o), 0
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	errno := n.d.begin(false)
	defer n.d.mu.Unlock()
	n.o.attr(&out.Attr)
	return errno
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	errno := n.d.begin(true)
	defer n.d.mu.Unlock()
	if errno != 0 {
		return errno
	}
	if mode, ok := in.GetMode(); ok {
		n.o.mode = n.o.mode&syscall.S_IFMT | mode&0o7777
	}
	if size, ok := in.GetSize(); ok {
		if errno := n.resize(int(size)); errno != 0 {
			return errno
		}
	}
	n.o.attr(&out.Attr)
	return 0
}

func (n *node) resize(size int) syscall.Errno {
	if size > len(n.o.data) {
		if n.d.full {
			return syscall.ENOSPC
		}
		n.o.data = append(n.o.data, make([]byte, size-len(n.o.data))...)
	}
	n.o.data = n.o.data[:size]
	return 0
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	errno := n.d.begin(flags&syscall.O_ACCMODE != syscall.O_RDONLY)
	defer n.d.mu.Unlock()
	if errno == 0 && flags&syscall.O_TRUNC != 0 {
		n.o.data = nil
	}
	return &handle{flags&syscall.O_SYNC == syscall.O_SYNC}, fuse.FOPEN_KEEP_CACHE, errno
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	errno := n.d.begin(true)
	defer n.d.mu.Unlock()
	if errno != 0 {
		return nil, nil, 0, errno
	}
	o, ok := n.o.names[name]
	switch {
	case ok && flags&syscall.O_EXCL != 0:
		return nil, nil, 0, syscall.EEXIST
	case !ok:
		o = n.d.object(syscall.S_IFREG | mode&0o7777)
		n.o.names[name] = o
	}
	o.attr(&out.Attr)
	return n.child(ctx, o), &handle{flags&syscall.O_SYNC == syscall.O_SYNC}, 0, 0
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	errno := n.d.begin(false)
	defer n.d.mu.Unlock()
	if errno != 0 {
		return nil, errno
	}
	off = min(off, int64(len(n.o.data)))
	return fuse.ReadResultData(dest[:copy(dest, n.o.data[off:])]), 0
}

func (n *node) Write(_ context.Context, f fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	errno := n.d.begin(true)
	defer n.d.mu.Unlock()
	if errno != 0 {
		return 0, errno
	}
	if end := int(off) + len(data); end > len(n.o.data) {
		if errno := n.resize(end); errno != 0 {
			return 0, errno
		}
	}
	copy(n.o.data[off:], data)
	if h, ok := f.(*handle); ok && h.sync {
		n.d.sync(n.o)
	}
	return uint32(len(data)), 0
}

// Fsync is for files and folders alike.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	errno := n.d.begin(true)
	defer n.d.mu.Unlock()
	if errno == 0 {
		n.d.sync(n.o)
	}
	return errno
}

// Flush is close(2), which makes nothing durable.
func (n *node) Flush(context.Context, fs.FileHandle) syscall.Errno {
	errno := n.d.begin(false)
	defer n.d.mu.Unlock()
	return errno
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	errno := n.d.begin(true)
	defer n.d.mu.Unlock()
	switch {
	case errno != 0:
		return nil, errno
	case n.d.full:
		return nil, syscall.ENOSPC
	case n.o.names[name] != nil:
		return nil, syscall.EEXIST
	}
	o := n.d.object(syscall.S_IFDIR | mode&0o7777)
	n.o.names[name] = o
	o.attr(&out.Attr)
	return n.child(ctx, o), 0
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	errno := n.d.begin(true)
	defer n.d.mu.Unlock()
	if errno != 0 {
		return nil, errno
	}
	o := n.d.object(syscall.S_IFLNK | 0o777)
	o.target = target
	n.o.names[name] = o
	o.attr(&out.Attr)
	return n.child(ctx, o), 0
}

func (n *node) Readlink(context.Context) ([]byte, syscall.Errno) {
	errno := n.d.begin(false)
	defer n.d.mu.Unlock()
	return []byte(n.o.target), errno
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	errno := n.d.begin(true)
	defer n.d.mu.Unlock()
	if errno != 0 {
		return nil, errno
	}
	if n.o.names[name] != nil {
		return nil, syscall.EEXIST
	}
	o := target.(*node).o
	o.links++
	n.o.names[name] = o
	o.attr(&out.Attr)
	return n.child(ctx, o), 0
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	errno := n.d.begin(true)
	defer n.d.mu.Unlock()
	if o := n.o.names[name]; errno == 0 && o != nil {
		o.links--
		delete(n.o.names, name)
	}
	return errno
}

func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	errno := n.d.begin(true)
	defer n.d.mu.Unlock()
	if errno != 0 {
		return errno
	}
	if o := n.o.names[name]; o != nil && len(o.names) > 0 {
		return syscall.ENOTEMPTY
	}
	delete(n.o.names, name)
	return 0
}

func (n *node) Rename(_ context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	errno := n.d.begin(true)
	defer n.d.mu.Unlock()
	if errno != 0 {
		return errno
	}
	if flags != 0 {
		return syscall.EINVAL
	}
	o := n.o.names[name]
	if o == nil {
		return syscall.ENOENT
	}
	delete(n.o.names, name)
	parent.(*node).o.names[newName] = o
	return 0
}

func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	errno := n.d.begin(false)
	defer n.d.mu.Unlock()
	if errno != 0 {
		return nil, errno
	}
	var entries []fuse.DirEntry
	for name, o := range n.o.names {
		entries = append(entries, fuse.DirEntry{Name: name, Mode: o.mode & syscall.S_IFMT, Ino: o.ino})
	}
	return fs.NewListDirStream(entries), 0
}

func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	errno := n.d.begin(false)
	defer n.d.mu.Unlock()
	out.Bsize, out.Frsize, out.Blocks, out.Bfree, out.Bavail, out.NameLen = 4096, 4096, 1<<20, 1<<19, 1<<19, 255
	return errno
}
