package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/firn-log/firn/ingest/submit"
	"github.com/firn-log/firn/internal/durable"
)

// lookUser returns the group id of the submitter, or -1 where this process may
// not give files away anyhow.
func (f *hookFlags) lookUser() (int, error) {
	u, err := user.Lookup(f.user)
	if err != nil {
		if f.dryRun {
			return -1, nil
		}
		return 0, failf(exitUsage, "make it with `useradd --system --no-create-home "+f.user+"`, or name another with --user", "there is no user %s", f.user)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return 0, failf(exitFailed, "", "group of %s: %w", f.user, err)
	}
	return gid, nil
}

// spoolMode lets root and the submitter's group work in the spool, and gives new
// files to that group.
const spoolMode = fs.FileMode(0o770) | fs.ModeSetgid

// spoolStep makes the spool. The top folder belongs to root alone in writing, so
// that the submitter cannot replace a folder that the hook, as root, writes to.
func (f *hookFlags) spoolStep(gid int) *step {
	if spoolIsWhole(f.spool) {
		return &step{what: "the spool " + f.spool}
	}
	return &step{fmt.Sprintf("make the spool %s for root and %s", f.spool, f.user), func() error {
		if err := durable.MkdirAll(f.spool, 0o755); err != nil {
			return err
		}
		for _, d := range submit.Folders() {
			path := filepath.Join(f.spool, d)
			if err := durable.MkdirAll(path, 0o770); err != nil {
				return err
			}
			if err := give(path, -1, gid, spoolMode); err != nil {
				return err
			}
		}
		return durable.SyncDir(f.spool)
	}}
}

// spoolIsWhole reports whether all folders of a spool are as spoolStep makes them: an
// earlier version knew fewer.
func spoolIsWhole(spool string) bool {
	return !slices.ContainsFunc(submit.Folders(), func(d string) bool {
		st, err := os.Stat(filepath.Join(spool, d))
		return err != nil || st.Mode()&fs.ModeSetgid == 0
	})
}

// give changes the rights of a file or folder that this process has made, and, as root,
// its owner and group; -1 leaves one as it is. What somebody has put in its place, where
// the folder around it is not root's alone, is left alone: a link, or another name of a
// file.
func give(path string, uid, gid int, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !st.IsDir() && (!st.Mode().IsRegular() || !ok || sys.Nlink != 1) {
		return fmt.Errorf("%s is not a file of its own", path)
	}
	if os.Geteuid() == 0 && (uid >= 0 || gid >= 0) {
		if err := f.Chown(uid, gid); err != nil {
			return err
		}
	}
	return f.Chmod(mode)
}

// unitStep writes the systemd unit of the submitter.
func (f *hookFlags) unitStep() *step {
	if f.systemd == "" {
		return nil
	}
	path := filepath.Join(f.systemd, "firn-submit.service")
	if _, err := os.Stat(path); err == nil {
		return &step{what: path}
	}
	self, err := os.Executable()
	if err != nil {
		self = "/usr/bin/firn"
	}
	unit := unitText(self, f)
	return &step{"write " + path + ":\n" + indent(unit), func() error { return durable.WriteFile(path, []byte(unit), 0o644) }}
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ")
}

func unitText(firn string, f *hookFlags) string {
	args := ""
	if f.config != "" {
		args = " --config " + f.config
	}
	return fmt.Sprintf(`[Unit]
Description=Send builds to a firn log
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=%s submit%s
Environment=FIRN_SPOOL=%s XDG_STATE_HOME=/var/lib
User=%s
StateDirectory=firn
Restart=on-failure
RestartSec=30
RestartPreventExitStatus=2 5
NoNewPrivileges=true
ProtectSystem=strict
ReadWritePaths=%s
ProtectHome=read-only
PrivateTmp=true
PrivateDevices=true
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
CapabilityBoundingSet=

[Install]
WantedBy=multi-user.target
`, firn, args, f.spool, f.user, f.spool)
}
