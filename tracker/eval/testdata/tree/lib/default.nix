{ system }:
rec {
  maintainers = import ./maintainers.nix;
  # A derivation with its metadata, as stdenv.mkDerivation makes one.
  make = { name ? "${pname}-${version}", pname ? null, version ? null, meta ? { }, passthru ? { }, ... }@args:
    let
      pos = builtins.unsafeGetAttrPos (if args ? pname then "pname" else "name") args;
      drv = derivation ({ inherit name system; builder = "/bin/sh"; } // removeAttrs args [ "meta" "passthru" ]);
    in
    drv // args // passthru // { inherit name; meta = { position = "${pos.file}:${toString pos.line}"; } // meta; };
}
