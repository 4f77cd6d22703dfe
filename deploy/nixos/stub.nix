# stub.nix is as much of nixpkgs' lib and module system as module.nix uses, so that
# the module can be evaluated where there is no nixpkgs: in its tests. It is
# stricter: every option needs a description, every value is checked, and nothing
# may be set that is no option.
let
  inherit (builtins) all attrNames attrValues concatLists elem filter foldl' hasAttr head isAttrs isBool isInt isList isPath isString listToAttrs map mapAttrs match concatStringsSep;

  mergeAttrs = a: b: a // mapAttrs (n: v: if hasAttr n a && isAttrs a.${n} && isAttrs v && !(v ? _if) then mergeAttrs a.${n} v else if hasAttr n a && isList a.${n} && isList v then a.${n} ++ v else v) b;

  lib = rec {
    optionalAttrs = c: a: if c then a else { };
    optional = c: v: if c then [ v ] else [ ];
    optionalString = c: s: if c then s else "";
    boolToString = b: if b then "true" else "false";
    filterAttrs = f: a: listToAttrs (map (n: { name = n; value = a.${n}; }) (filter (n: f n a.${n}) (attrNames a)));
    mapAttrsToList = f: a: map (n: f n a.${n}) (attrNames a);
    concatMapStringsSep = sep: f: l: concatStringsSep sep (map f l);
    inherit mapAttrs concatStringsSep concatLists;
    literalExpression = text: { _literal = text; };
    mkOption = o: { _option = true; } // o;
    mkEnableOption = what: mkOption { type = types.bool; default = false; example = true; description = "Whether to enable ${what}."; };
    mkIf = condition: content: { _if = condition; inherit content; };
    mkMerge = contents: { _merge = contents; };
    mkForce = value: value;
    types = rec {
      bool = { name = "boolean"; check = isBool; };
      str = { name = "string"; check = isString; };
      path = { name = "absolute path"; check = v: isPath v || isString v && match "/.*" v != null; };
      package = { name = "package"; check = v: path.check v || isAttrs v && v ? outPath; };
      anything = { name = "anything"; check = v: true; };
      nullOr = t: { name = "null or ${t.name}"; check = v: v == null || t.check v; };
      attrsOf = t: { name = "attribute set of ${t.name}"; check = v: isAttrs v && all t.check (attrValues v); };
    };
  };

  # flatten resolves mkIf and mkMerge into one attribute set.
  flatten = v:
    if isAttrs v && v ? _merge then foldl' mergeAttrs { } (map flatten v._merge)
    else if isAttrs v && v ? _if then (if v._if then flatten v.content else { })
    else v;

  describe = name: o:
    if !(o ? description && isString o.description && o.description != "") then throw "the option ${name} has no description"
    else if !(o ? type) then throw "the option ${name} has no type"
    else if !(o ? default || o ? example) then throw "the option ${name} has neither a default nor an example"
    else { inherit name; type = o.type.name; inherit (o) description; } // lib.optionalAttrs (o ? default) { inherit (o) default; };

  options = path: tree: concatLists (lib.mapAttrsToList (n: v: let p = "${path}.${n}"; in if v ? _option then [ (describe p v) ] else options p v) tree);

  # values are the values of a tree of options: what is set, else the default.
  values = path: tree: set:
    let unknown = filter (n: !hasAttr n tree) (attrNames set); in
    if unknown != [ ] then throw "there is no option ${path}.${head unknown}"
    else mapAttrs
      (n: o:
        let p = "${path}.${n}"; in
        if !(o ? _option) then values p o (set.${n} or { })
        else if !hasAttr n set then (o.default or (throw "the option ${p} is used and not set"))
        else if o.type.check set.${n} then set.${n}
        else throw "the value of the option ${p} is no ${o.type.name}")
      tree;

  pkgs.writeText = name: text: builtins.toFile name text;
in
{
  # eval evaluates a module with the given services.firn.
  eval = module: firn:
    let
      m = import module { inherit lib pkgs config; };
      config = { services.firn = values "services.firn" m.options.services.firn firn; nix.package = "/nix"; };
      out = flatten m.config;
      failed = filter (a: !a.assertion) (out.assertions or [ ]);
      known = [ "assertions" "users" "systemd" "nix" "environment" ];
    in
    {
      options = options "services.firn" m.options.services.firn;
      config = if failed != [ ] then throw (head failed).message
      else if !(all (n: elem n known) (attrNames out)) then throw "the module sets something else than ${concatStringsSep ", " known}"
      else out;
    };
}
