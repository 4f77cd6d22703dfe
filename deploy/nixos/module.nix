# The services of firn on NixOS. `settings` of each is the program's own configuration,
# rendered as TOML and read strictly by the program before it starts (--check): a
# name that it does not know stops it. Secrets are files, given to the services
# as systemd credentials; nothing secret may stand in `settings`, which ends up in the store.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkEnableOption mkIf mkMerge mkOption optionalAttrs types;
  cfg = config.services.firn;

  toTOML = import ./toml.nix { inherit lib; };
  file = name: settings: pkgs.writeText name (toTOML settings);
  credential = service: name: "/run/credentials/${service}.service/${name}";
  program = name: "${cfg.package}/bin/${name}";

  settingsOption = what: example: mkOption {
    type = types.attrsOf types.anything;
    default = { };
    inherit example;
    description = "${what} A name that the program does not know is an error when it starts. Do not put secrets here: everybody on this machine can read it.";
  };
  keyOption = what: mkOption {
    type = types.nullOr types.path;
    default = null;
    example = "/etc/firn/key";
    description = "File with ${what}, which root alone needs to be able to read: the service gets it as a systemd credential. null: `settings` names a key.";
  };

  # What every service may do, and nothing more.
  hardened = {
    NoNewPrivileges = true;
    ProtectSystem = "strict";
    ProtectHome = true;
    PrivateTmp = true;
    PrivateDevices = true;
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    RestrictAddressFamilies = [ "AF_INET" "AF_INET6" "AF_UNIX" ];
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    CapabilityBoundingSet = "";
    AmbientCapabilities = "";
    SystemCallArchitectures = "native";
    SystemCallFilter = [ "@system-service" "~@privileged @resources" ];
    UMask = "0027";
  };

  unit = description: serviceConfig: {
    inherit description;
    documentation = [ "https://github.com/firn-log/firn" ];
    wants = [ "network-online.target" ];
    after = [ "network-online.target" ];
    inherit serviceConfig;
  };

  # Programs that serve from a folder: log, witness, auditor, peer, substituter, tracker.
  daemons = {
    log = { key = "the log's key, as `firn-log init` wrote it"; example = { origin = "log.example/0123abcd"; listen = "127.0.0.1:8470"; witnessing.policy = "/etc/firn/log.policy"; }; keyName = "log.key"; keySetting = "key"; limit = { }; };
    witness = { key = "the witness's key, as `firn-witness init` wrote it"; example = { name = "witness.example/w1"; listen = "127.0.0.1:8480"; }; keyName = "witness.key"; keySetting = "key"; limit = { MemoryMax = "256M"; }; };
    auditor = { key = "the auditor's key, as `firn-auditor init` wrote it"; example = { name = "auditor.example/a1"; policy = "/etc/firn/log.policy"; }; keyName = "auditor.key"; keySetting = "key"; limit = { MemoryMax = "4G"; }; };
    peer = { key = "the peer's libp2p key, as `firn-peer init` wrote it"; example = { listen = "127.0.0.1:8490"; policies = [ "/etc/firn/log.policy" ]; }; keyName = "p2p.key"; keySetting = null; limit = { RestrictAddressFamilies = [ "AF_INET" "AF_INET6" "AF_UNIX" "AF_NETLINK" ]; }; };
    substituter = { key = "the key that signs for this machine, as `firn-substituter init` wrote it"; example = { policy = "/etc/firn/firn.policy"; }; keyName = "substituter.key"; keySetting = "key"; limit = { MemoryMax = "3G"; }; };
    tracker = { key = null; example = { policy = "/etc/firn/firn.policy"; listen = "127.0.0.1:8476"; database = "postgres:///firn-tracker?host=/run/postgresql"; }; keySetting = null; limit = { MemoryMax = "1G"; }; };
  };
  substituterAddress = cfg.substituter.settings.listen or "127.0.0.1:8474";

  daemonOptions = name: d: {
    enable = mkEnableOption (if name == "tracker" then "firn-tracker; it needs a policy, by default in /etc/firn/firn.policy" else "firn-${name}; make its folder once with `firn-${name} init`");
    directory = mkOption {
      type = types.path;
      default = "/var/lib/firn-${name}";
      example = "/srv/firn-${name}";
      description = "${if name == "tracker" then "Folder with the database and all that is kept." else "Folder that `firn-${name} init` made."} The service's user is `firn-${name}`, and must own it.";
    };
    settings = settingsOption "Contents of firn-${name}.toml. Empty: the file in `directory` is read as it is. Otherwise every setting that has to be another one than by default is needed, and relative paths are relative to `directory`." d.example;
  } // optionalAttrs (d.keySetting != null) { keyFile = keyOption d.key; };

  daemonConfig = name: d:
    let
      c = cfg.${name};
      service = "firn-${name}";
      keyFile = c.keyFile or null;
      settings = c.settings // optionalAttrs (keyFile != null) { ${d.keySetting} = credential service d.keyName; };
      flags = lib.optionalString (c.settings != { }) " --config ${file "${service}.toml" settings}";
    in
    mkIf c.enable {
      assertions = [{
        assertion = keyFile == null || c.settings != { };
        message = "services.firn.${name}.keyFile needs services.firn.${name}.settings, which it is added to";
      }];
      users.users.${service} = { isSystemUser = true; group = service; description = "firn ${name}"; home = toString c.directory; };
      users.groups.${service} = { };
      systemd.services.${service} = unit "firn ${name}" (hardened // {
        Type = "exec";
        User = service;
        Group = service;
        ExecStartPre = "${program service} serve --check${flags} ${toString c.directory}";
        ExecStart = "${program service} serve${flags} ${toString c.directory}";
        ReadWritePaths = [ (toString c.directory) ];
        Restart = "on-failure";
        RestartSec = 5;
        # A wrong configuration, and a start that was refused, stay so.
        RestartPreventExitStatus = "2 5";
        TimeoutStopSec = 60;
        LimitNOFILE = 65536;
        PrivateUsers = true;
        ProcSubset = "pid";
        RemoveIPC = true;
      } // optionalAttrs (toString c.directory == "/var/lib/${service}") {
        StateDirectory = service;
        StateDirectoryMode = "0750";
      } // optionalAttrs (keyFile != null) {
        LoadCredential = [ "${d.keyName}:${toString keyFile}" ];
      } // d.limit) // { wantedBy = [ "multi-user.target" ]; };
    };

  spool = "/var/spool/firn";
  submitter = {
    User = "firn-submit";
    Group = "firn-submit";
    Environment = [ "FIRN_SPOOL=${spool}" "XDG_STATE_HOME=/var/lib" ];
    StateDirectory = "firn";
  };
  rebuildSettings = { inherit spool; work = "/var/lib/firn-rebuild"; } // cfg.rebuild.settings;
  usesSubmitter = cfg.submit.enable || cfg.import.enable || cfg.import-hydra.enable || cfg.rebuild.enable;

  hydraSettings = optionalAttrs (cfg.import-hydra.keyFile != null) {
    key = "file:${credential "firn-import-hydra" "build.key"}";
  } // cfg.import-hydra.settings;

  timerOption = mkOption {
    type = types.str;
    default = "hourly";
    example = "*-*-* 03:00:00";
    description = "When it runs, as `OnCalendar` of systemd.timer(5).";
  };
  timer = description: onCalendar: {
    inherit description;
    wantedBy = [ "timers.target" ];
    timerConfig = { OnCalendar = onCalendar; RandomizedDelaySec = "15min"; Persistent = true; };
  };
in
{
  options.services.firn = {
    package = mkOption {
      type = types.package;
      example = lib.literalExpression "pkgs.callPackage ./firn.nix { }";
      description = "Package with the programs of firn in bin/. There is no default: nixpkgs has none yet.";
    };

    submit = {
      enable = mkEnableOption "the post-build hook, and sending what this machine builds to a log. Only what `public-from` in `settings` names leaves this machine";
      settings = settingsOption "Contents of /etc/firn/submit.toml (`firn submit --help`)." {
        log = "https://log.example";
        log-policy = "/etc/firn/log.policy";
        public-from = [ "/etc/firn/public" ];
      };
      keyFile = keyOption "the build key";
    };

    import = {
      enable = mkEnableOption "importing the signatures of binary caches into a log";
      settings = settingsOption "Contents of import.toml (`firn import cache --help`)." {
        log = "https://log.example";
        log-policy = "/etc/firn/log.policy";
        cache = [{ url = "https://cache.example"; trusted-keys = [ "cache.example-1:BASE64" ]; roots = [ "/etc/firn/roots" ]; }];
      };
      startAt = timerOption;
    };

    import-hydra = {
      enable = mkEnableOption "importing what Hydras have evaluated and built into a log";
      settings = settingsOption "Contents of hydra.toml (`firn import hydra --help`)." {
        log = "https://log.example";
        log-policy = "/etc/firn/log.policy";
        cache = "https://cache.example";
        trusted-keys = [ "cache.example-1:BASE64" ];
        jobset = [{ url = "https://hydra.example"; jobset = "nixpkgs/trunk"; }];
      };
      keyFile = keyOption "the build key that signs what the importer says about evaluations";
      startAt = timerOption;
    };

    rebuild = {
      enable = mkEnableOption "building derivations again from clean and comparing every output; needs `submit`, which sends what comes out";
      settings = settingsOption "Contents of rebuild.toml (`firn rebuild --help`)." { work-from = [ "OPERATOR-ID" ]; jobs = 1; };
      startAt = timerOption // { default = "daily"; };
    };
  } // lib.mapAttrs daemonOptions daemons // {
    substituter = daemonOptions "substituter" daemons.substituter // {
      publicKey = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "firn-machine-1:BASE64";
        description = "Key that `firn-substituter key` prints. With it, the Nix of this machine takes what comes from this substituter and from nowhere else; null: Nix is left as it is.";
      };
    };
  };

  config = mkMerge (lib.mapAttrsToList daemonConfig daemons ++ [
    (mkIf cfg.substituter.enable {
      # Nix asks here also while the substituter starts: nothing is refused meanwhile.
      systemd.sockets.firn-substituter = {
        description = "firn substituter";
        wantedBy = [ "sockets.target" ];
        socketConfig = { ListenStream = substituterAddress; NoDelay = true; };
      };
    })

    (mkIf (cfg.substituter.enable && cfg.substituter.publicKey != null) {
      nix.settings = {
        substituters = lib.mkForce [ "http://${substituterAddress}" ];
        trusted-public-keys = lib.mkForce [ cfg.substituter.publicKey ];
        narinfo-cache-positive-ttl = 600;
        narinfo-cache-negative-ttl = 0;
      };
    })

    (mkIf usesSubmitter {
      users.users.firn-submit = { isSystemUser = true; group = "firn-submit"; description = "firn submit"; home = "/var/lib/firn"; };
      users.groups.firn-submit = { };
      # The hook runs as root and must not be led elsewhere: the spool is root's, its
      # folders are shared with the submitter (spec/spool.md).
      systemd.tmpfiles.rules = [ "d ${spool} 0755 root root -" ]
        ++ map (folder: "d ${spool}/${folder} 2770 root firn-submit -") [ "pending" "roots" "submit" "unsigned" "signed" "held" "sent" "failed" "closures" "blobs" ];
    })

    (mkIf cfg.submit.enable {
      nix.settings.post-build-hook = program "firn-hook";
      environment.etc."firn/submit.toml".text = toTOML (cfg.submit.settings // optionalAttrs (cfg.submit.keyFile != null) {
        key = "file:${credential "firn-submit" "build.key"}";
      });
      systemd.services.firn-submit = unit "Send builds to a firn log" (hardened // submitter // {
        Type = "exec";
        ExecStartPre = "${program "firn"} submit --check";
        ExecStart = "${program "firn"} submit";
        ReadWritePaths = [ spool ];
        Restart = "on-failure";
        RestartSec = 30;
        RestartPreventExitStatus = "2 5";
      } // optionalAttrs (cfg.submit.keyFile != null) {
        LoadCredential = [ "build.key:${toString cfg.submit.keyFile}" ];
      }) // { wantedBy = [ "multi-user.target" ]; restartTriggers = [ (toTOML cfg.submit.settings) ]; };
    })

    (mkIf cfg.import.enable {
      systemd.services.firn-import = unit "Import signatures of binary caches into a firn log" (hardened // submitter // {
        Type = "oneshot";
        ExecStartPre = "${program "firn"} import cache --check --config ${file "import.toml" cfg.import.settings}";
        ExecStart = "${program "firn"} import cache --config ${file "import.toml" cfg.import.settings}";
        TimeoutStartSec = "infinity";
        MemoryMax = "2G";
        Nice = 10;
        ProcSubset = "pid";
      });
      systemd.timers.firn-import = timer "Import signatures of binary caches into a firn log" cfg.import.startAt;
    })

    (mkIf cfg.import-hydra.enable {
      systemd.services.firn-import-hydra = unit "Import evaluations and builds of Hydras into a firn log" (hardened // submitter // {
        Type = "oneshot";
        ExecStartPre = "${program "firn"} import hydra --config ${file "hydra.toml" hydraSettings} --check";
        ExecStart = "${program "firn"} import hydra --config ${file "hydra.toml" hydraSettings}";
        ReadWritePaths = [ "-/var/spool/firn-hydra" ];
        TimeoutStartSec = "infinity";
        MemoryMax = "2G";
        Nice = 10;
        ProcSubset = "pid";
      } // optionalAttrs (cfg.import-hydra.keyFile != null) {
        LoadCredential = [ "build.key:${toString cfg.import-hydra.keyFile}" ];
      });
      systemd.timers.firn-import-hydra = timer "Import evaluations and builds of Hydras into a firn log" cfg.import-hydra.startAt;
    })

    (mkIf cfg.rebuild.enable {
      assertions = [{
        assertion = cfg.submit.enable;
        message = "services.firn.rebuild needs services.firn.submit, which sends what it says";
      }];
      # Nix builds in namespaces that this user makes, so less is closed than elsewhere:
      # Nix's own sandbox closes the rest.
      systemd.services.firn-rebuild = unit "Rebuild derivations and compare" (submitter // {
        Type = "oneshot";
        ExecStartPre = "${program "firn"} rebuild --check-config --config ${file "rebuild.toml" rebuildSettings}";
        ExecStart = "${program "firn"} rebuild --config ${file "rebuild.toml" rebuildSettings}";
        StateDirectory = [ "firn" "firn-rebuild" ];
        ReadWritePaths = [ spool ];
        InaccessiblePaths = [ "-/run/credentials" ]; # the build key, which is this user's too
        TimeoutStartSec = "infinity";
        KillMode = "mixed";
        OOMPolicy = "continue";
        Nice = 10;
        CPUWeight = 20;
        IOWeight = 20;
        NoNewPrivileges = true;
        ProtectSystem = "strict";
        ProtectHome = true;
        PrivateTmp = true;
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectKernelModules = true;
        RestrictRealtime = true;
        CapabilityBoundingSet = "";
        AmbientCapabilities = "";
        SystemCallFilter = [ "~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap" ];
        UMask = "0027";
      }) // { path = [ config.nix.package ]; };
      systemd.timers.firn-rebuild = timer "Rebuild derivations and compare" cfg.rebuild.startAt;
    })
  ]);
}
