package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/firn-log/firn/internal/durable"
)

// serviceUnits writes the units of a service that is set up by --with. What it does
// its own configuration says, which is not written.
func (s *setup) serviceUnits(name string) ([]*step, error) {
	if s.hook.systemd == "" {
		return nil, nil
	}
	firn, err := os.Executable()
	if err != nil {
		return nil, failf(exitFailed, "", "%w", err)
	}
	var steps []*step
	for _, kind := range []string{".service", ".timer"} {
		path := filepath.Join(s.hook.systemd, "firn-"+name+kind)
		if exists(path) {
			steps = append(steps, &step{what: path})
			continue
		}
		text := unitFile(name+kind, firn, s.etc, s.hook.spool, s.hook.user)
		steps = append(steps, &step{"write " + path + ":\n" + indent(text), func() error { return durable.WriteFile(path, []byte(text), 0o644) }})
	}
	return steps, nil
}

// unitFile returns a unit of deploy/systemd with the paths of a machine. A test
// holds the two together.
func unitFile(name, firn, etc, spool, user string) string {
	return strings.NewReplacer("@firn@", firn, "@etc@", etc, "@spool@", spool, "@user@", user).Replace(unitFiles[name])
}

var unitFiles = map[string]string{
	"import.service": `# Imports the signatures of binary caches, as /etc/firn/import.toml says
# (firn import cache --help); firn-import.timer starts it. Without "every" there it
# ends when it has seen all.
[Unit]
Description=Import signatures of binary caches into a firn log
Documentation=https://github.com/firn-log/firn
Wants=network-online.target
After=network-online.target
ConditionPathExists=@etc@/import.toml

[Service]
Type=oneshot
User=@user@
Environment=XDG_STATE_HOME=/var/lib
ExecStartPre=@firn@ import cache --config @etc@/import.toml --check
ExecStart=@firn@ import cache --config @etc@/import.toml
StateDirectory=firn
TimeoutStartSec=infinity
MemoryMax=2G
Nice=10

NoNewPrivileges=true
ProtectSystem=strict
ProtectHome=true
PrivateTmp=true
PrivateDevices=true
ProtectClock=true
ProtectControlGroups=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
LockPersonality=true
MemoryDenyWriteExecute=true
CapabilityBoundingSet=
AmbientCapabilities=
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0027
`,
	"import.timer": `[Unit]
Description=Import signatures of binary caches into a firn log, each hour

[Timer]
OnCalendar=hourly
RandomizedDelaySec=15min
Persistent=true

[Install]
WantedBy=timers.target
`,
	"rebuild.service": `# Builds again what /etc/firn/rebuild.toml says (firn rebuild --help), and hands what
# is claimed to firn-submit; firn-rebuild.timer starts it. Its work folder is
# /var/lib/firn-rebuild.
#
# Nix builds in namespaces that this user makes, with a /proc of their own, and what a
# build may do must not depend on where it runs. So less is closed here than
# elsewhere: Nix's own sandbox closes the rest. The key of firn-submit, which is this
# user's too, is out of reach: nothing is signed here.
[Unit]
Description=Rebuild derivations and compare
Documentation=https://github.com/firn-log/firn
Wants=network-online.target
After=network-online.target
ConditionPathExists=@etc@/rebuild.toml

[Service]
Type=oneshot
User=@user@
Environment=XDG_STATE_HOME=/var/lib
ExecStartPre=@firn@ rebuild --config @etc@/rebuild.toml --check-config
ExecStart=@firn@ rebuild --config @etc@/rebuild.toml --work /var/lib/firn-rebuild --spool @spool@
StateDirectory=firn firn-rebuild
ReadWritePaths=@spool@
InaccessiblePaths=-@etc@/build.key -@etc@/identity.key -/run/credentials
TimeoutStartSec=infinity
KillMode=mixed
OOMPolicy=continue
Nice=10
CPUWeight=20
IOWeight=20

NoNewPrivileges=true
ProtectSystem=strict
ProtectHome=true
PrivateTmp=true
ProtectClock=true
ProtectControlGroups=true
ProtectKernelModules=true
RestrictRealtime=true
CapabilityBoundingSet=
AmbientCapabilities=
SystemCallFilter=~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap
UMask=0027
`,
	"rebuild.timer": `[Unit]
Description=Rebuild derivations and compare, each night

[Timer]
OnCalendar=daily
RandomizedDelaySec=2h
Persistent=true

[Install]
WantedBy=timers.target
`,
}
