# toml.nix renders an attribute set as TOML, at evaluation: what a program of firn
# reads is known, and checked, before anything is built or switched.
{ lib }:
let
  inherit (builtins) isAttrs isBool isFloat isInt isList isString toJSON;

  # A JSON string is a basic string of TOML, but for a slash that JSON may escape (Nix does not).
  key = name: if builtins.match "[A-Za-z0-9_-]+" name != null then name else toJSON name;

  isTable = v: isAttrs v;
  isTables = v: isList v && v != [ ] && builtins.all isTable v;

  value = path: v:
    if isBool v then lib.boolToString v
    else if isInt v || isFloat v then toString v
    else if isString v || builtins.isPath v then toJSON (toString v)
    else if isList v then "[${lib.concatMapStringsSep ", " (value path) v}]"
    else throw "${lib.concatStringsSep "." path} is a value that TOML does not have";

  section = path: header: attrs:
    let
      set = lib.filterAttrs (_: v: v != null) attrs;
      plain = lib.filterAttrs (_: v: !isTable v && !isTables v) set;
      tables = lib.filterAttrs (_: isTable) set;
      lists = lib.filterAttrs (_: isTables) set;
      below = name: path ++ [ name ];
      title = name: lib.concatMapStringsSep "." key (below name);
    in
    lib.concatStringsSep "" (
      lib.optional (header != null) "\n${header}\n"
      ++ lib.mapAttrsToList (name: v: "${key name} = ${value (below name) v}\n") plain
      ++ lib.mapAttrsToList (name: v: section (below name) "[${title name}]" v) tables
      ++ lib.concatLists (lib.mapAttrsToList (name: map (section (below name) "[[${title name}]]")) lists)
    );
in
attrs: section [ ] null attrs
