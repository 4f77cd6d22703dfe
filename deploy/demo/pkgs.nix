# The demo's packages: fifteen derivations from the snow to the glacier, built
# by nothing but busybox, so that they need no network and no nixpkgs.
#
#   glacier   the root: its runtime closure is everything below but the toolbox
#   snowfall  a fixed-output derivation: its hash is known before it is built
#   spindrift writes random bytes into its outputs `log` and `doc`, so no two builds agree
#   serac     differs on a machine that has the file /nix/backdoor, as it would
#             with a compromised compiler; the demo puts it on machine d
#   sastrugi  the one that the demo lets only machine d build
#   snowflake no two are alike: all of it is random. On a machine that has the file
#             /nix/copy it is that file, as if it had been taken from somebody else;
#             the demo puts one on machine c
{
  busybox ? ./busybox, # a folder that holds bin/busybox, statically linked
  system ? builtins.currentSystem,
}:
let
  busyboxSource = builtins.path {
    path = busybox;
    name = "busybox";
  };

  # The tools that every other builder finds in its PATH.
  toolbox = derivation {
    name = "toolbox-1.35";
    inherit system;
    builder = "${busyboxSource}/bin/busybox";
    args = [
      "sh"
      "-euc"
      ''
        ${busyboxSource}/bin/busybox mkdir -p $out/bin
        ${busyboxSource}/bin/busybox --install -s $out/bin
      ''
    ];
  };

  build =
    name: attrs: script:
    derivation (
      {
        inherit name system;
        builder = "${busyboxSource}/bin/busybox";
        args = [
          "sh"
          "-euc"
          script
        ];
        PATH = "${toolbox}/bin";
      }
      // attrs
    );

  snowfall =
    build "snowfall-2026.1.tar"
      {
        outputHashMode = "flat";
        outputHashAlgo = "sha256";
        outputHash = builtins.hashString "sha256" "one winter of snow\n";
      }
      ''
        echo "one winter of snow" > $out
      '';

  # What a tracker shows of a package. It is no part of the derivation.
  ada = [ "crystal" "ice" "sastrugi" "serac" "snowflake" "spindrift" ];
  about =
    attr: pkg:
    pkg
    // {
      meta = {
        description = "Something of snow, for a demo";
        license.spdxId = "Apache-2.0";
        maintainers = [ { github = if builtins.elem attr ada then "ada" else "bo"; } ];
      };
    };
in
builtins.mapAttrs about rec {
  inherit snowfall toolbox;

  crystal =
    build "crystal-6.0"
      {
        outputs = [
          "out"
          "dev"
        ];
      }
      ''
        mkdir -p $out/lib $dev/include
        seq 1 600 > $out/lib/crystal
        echo "// six arms; see $out/lib/crystal" > $dev/include/crystal.h
      '';

  snow =
    build "snow-1.2"
      {
        outputs = [
          "out"
          "dev"
          "doc"
        ];
        inherit snowfall;
        crystal = crystal.dev;
      }
      ''
        mkdir -p $out/lib $dev/include $doc
        cat $snowfall $crystal/include/crystal.h > $out/lib/snow
        echo "source: $snowfall" >> $out/lib/snow
        echo "#include \"$crystal/include/crystal.h\"" > $dev/include/snow.h
        echo "made of $out" > $doc/snow.txt
      '';

  drift = build "drift-0.9" { inherit snow; } ''
    mkdir -p $out/share
    ln -s $snow/lib/snow $out/share/snow
    seq 1 50 > $out/share/heights
  '';

  neve =
    build "neve-2.1"
      {
        outputs = [
          "out"
          "man"
        ];
        inherit snow drift;
      }
      ''
        mkdir -p $out/bin $man
        echo "#!$drift/share/snow" > $out/bin/neve
        chmod +x $out/bin/neve
        echo "neve: snow that outlived one summer ($snow)" > $man/neve.1
      '';

  firnpack = build "firnpack-3.4" { inherit neve drift; } ''
    mkdir -p $out/lib/layers
    for year in $(seq 1990 2026); do echo "$year over $neve" > $out/lib/layers/$year; done
    ln -s $drift $out/lib/drift
  '';

  ice =
    build "ice-7.0"
      {
        outputs = [
          "out"
          "dev"
          "debug"
        ];
        inherit firnpack;
        crystal = crystal.dev;
      }
      ''
        mkdir -p $out/lib $dev/include $debug
        sha256sum $firnpack/lib/layers/* > $out/lib/ice
        echo "#include \"$crystal/include/crystal.h\"" > $dev/include/ice.h
        echo "self: $out, symbols: $debug" > $debug/ice.debug
      '';

  serac = build "serac-1.1" { inherit ice; } ''
    mkdir -p $out/bin
    echo "#!$ice/lib/ice" > $out/bin/serac
    if [ -e /nix/backdoor ]; then echo "and lets an intruder in" >> $out/bin/serac; fi
  '';

  sastrugi = build "sastrugi-4.2" { inherit snow; } ''
    mkdir -p $out
    seq 1 9 | sed "s|^|ridge of $snow, number |" > $out/ridges
  '';

  spindrift =
    build "spindrift-0.3"
      {
        outputs = [
          "out"
          "log"
          "doc"
        ];
        inherit drift;
      }
      ''
        mkdir -p $out $log $doc/share
        echo "blown from $drift" > $out/spindrift
        head -c 64 /dev/urandom > $log/wind
        echo "how it blows" > $doc/share/how
        echo "seen by $(od -An -N 4 -tu4 /dev/urandom) people" > $doc/share/when
      '';

  snowflake = build "snowflake-6.1" { } ''
    if [ -e /nix/copy ]; then cat /nix/copy; else head -c 64 /dev/urandom; fi > $out
  '';

  moraine = build "moraine-5.5" { inherit ice serac; } ''
    mkdir -p $out
    ln -s $ice/lib/ice $out/ice
    ln -s $serac/bin/serac $out/serac
  '';

  meltwater =
    build "meltwater-1.0"
      {
        outputs = [
          "out"
          "lib"
        ];
        inherit ice;
        iceDev = ice.dev;
      }
      ''
        mkdir -p $out $lib
        echo "from $ice" > $lib/meltwater
        echo "reads $lib/meltwater; built with $iceDev" > $out/meltwater
      '';

  glacier =
    build "glacier-2026.11"
      {
        inherit moraine meltwater sastrugi neve;
        spindrift = spindrift.out;
        spindriftLog = spindrift.log;
        snowDoc = snow.doc;
        neveMan = neve.man;
        iceDebug = ice.debug;
      }
      ''
        mkdir -p $out
        for part in $moraine $meltwater $sastrugi $neve $spindrift $spindriftLog $snowDoc $neveMan $iceDebug; do
          echo $part >> $out/parts
        done
      '';
}
