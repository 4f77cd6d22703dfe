# A tree like a nixpkgs, with everything that can go wrong in one.
{ system ? builtins.currentSystem, config ? { }, hostile ? true }:
let
  lib = import ./lib { inherit system; };
  call = f: import f { inherit lib self; };
  byName =
    let
      shards = builtins.attrNames (builtins.readDir ./pkgs/by-name);
      of = shard: map (name: { inherit name; value = call (./pkgs/by-name + "/${shard}/${name}/package.nix"); })
        (builtins.attrNames (builtins.readDir (./pkgs/by-name + "/${shard}")));
    in
    builtins.listToAttrs (builtins.concatMap of shards);
  self = byName // (call ./pkgs/lib) // (call ./pkgs/tools/two) // {
    sets = call ./pkgs/sets;
    hidden = { inherit (self) hello; };
    function = x: x;
    number = 3;
  } // (if hostile then import ./hostile.nix { inherit lib self; } else { });
in
self
