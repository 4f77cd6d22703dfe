# Evaluates attributes of a tree one after the other and tells each on stderr as
# soon as it is known. Every line of ours begins with a word that packages cannot
# know: it is in this text, which comes on standard input, and nowhere else.
#
#   WORD S                  the tree is loaded
#   WORD B I                attribute number I is next
#   WORD P I                it is a derivation with a name; what follows is for the tier
#   WORD R I JSON           what it is
#   WORD D JSON             all are done; about the evaluator
{ word, tree, system, tier, settings, items }:
let
  inherit (builtins) attrNames elemAt foldl' functionArgs genList isAttrs isFunction isInt isList isPath isString
    length pathExists seq stringLength toJSON tryEval unsafeDiscardStringContext;

  say = text: builtins.trace "${word} ${text}";

  # The tree, called as a nixpkgs is, or as far as it declares.
  root =
    let
      f = import tree;
      names' = text: builtins.listToAttrs (map (name: { inherit name; value = true; }) (builtins.fromJSON text));
      declared = functionArgs f;
      like = declared ? overlays || declared == { };
      all = {
        inherit system;
        overlays = [ ];
        config = builtins.intersectAttrs (names' settings) {
          allowAliases = false;
          allowBroken = true;
          allowUnfree = true;
          allowUnsupportedSystem = true;
          allowInsecurePredicate = _: true;
          checkMeta = false;
          inHydra = false;
        };
      };
      args = builtins.intersectAttrs (names' settings) (builtins.intersectAttrs (declared // (if like then { system = true; config = true; } else { })) all);
      call = g: if isFunction g then g (builtins.intersectAttrs (functionArgs g) all) else g;
    in
    if isFunction f then call (f args) else f;

  # What cannot be told is null. Anything longer is somebody's mistake or attack.
  text = v:
    if isString v then (if stringLength v <= 8192 then unsafeDiscardStringContext v else null)
    else if isInt v then toString v
    else null;
  take = n: l: if length l <= n then l else genList (elemAt l) n;
  list = v: if isList v then take 256 v else [ v ];
  present = builtins.filter (v: v != null);
  # What throws is as if it were not there. Only texts and sets of texts are forced to the
  # ground: behind others there can be half the tree.
  try = default: v: let r = tryEval v; in if r.success then r.value else default;
  or' = default: v: try default (builtins.deepSeq v v);
  # A member of a set, or null; also of what is no set.
  get = name: v: if isAttrs v then v.${name} or null else null;
  texts = f: v: or' [ ] (present (map (x: or' null (f x)) (if v == null then [ ] else list v)));

  # Old trees name maintainers by a text; the list of maintainers tells their handle.
  handles =
    let
      files = builtins.filter pathExists [ (tree + "/maintainers/maintainer-list.nix") (tree + "/lib/maintainers.nix") ];
      known = if files == [ ] then { } else import (builtins.head files);
      pair = k:
        let m = known.${k}; t = if isString m then m else get "email" m;
        in if isString t && t != "" then [ { name = unsafeDiscardStringContext t; value = k; } ] else [ ];
    in
    or' { } (if isAttrs known then builtins.listToAttrs (builtins.concatMap pair (attrNames known)) else { });
  maintainer = m:
    if isString m then { login = handles.${unsafeDiscardStringContext m} or null; text = text m; }
    else if isAttrs m then {
      login = let g = text (m.github or null); e = text (m.email or null); in
        if g != null then g else if e != null then handles.${e} or null else null;
      name = text (m.name or null);
      email = text (m.email or null);
    }
    else null;
  licence = l:
    if isString l then text l
    else if isAttrs l then
      let ids = present (map (k: text (l.${k} or null)) [ "spdxId" "shortName" "fullName" ]);
      in if ids == [ ] then null else builtins.head ids
    else null;
  patch = p:
    if isPath p then baseNameOf (toString p)
    else if isString p then text (baseNameOf (unsafeDiscardStringContext p))
    else text (get "name" p);
  team = t: if isString t then text t else let s = text (get "shortName" t); in if s != null then s else text (get "githubTeam" t);
  # Names with a text each, one level deep.
  identifiers = ids:
    let
      flat = prefix: v: builtins.concatMap
        (k: let x = or' null v.${k}; in
          if isString x then [ { name = prefix + k; value = text x; } ]
          else if prefix == "" && isAttrs x then flat "${k}." x
          else [ ])
        (attrNames v);
    in
    if isAttrs ids then builtins.listToAttrs (take 64 (flat "" ids)) else { };
  unfree = l: let free = get "free" l; in free == false;
  position = pkg: meta:
    let p = text (meta.position or null); a = builtins.unsafeGetAttrPos "name" pkg;
    in if p != null then p else if isAttrs a then "${unsafeDiscardStringContext (toString a.file)}:${toString a.line}" else null;

  metadata = pkg:
    let
      m = try { } (let m = pkg.meta or { }; in if isAttrs m then m else { });
      meta = name: try null (m.${name} or null);
      name = text pkg.name;
      parsed = builtins.parseDrvName (if name == null then "" else name);
      field = n: or' null (text (pkg.${n} or null));
      pname = field "pname";
      version = field "version";
    in
    {
      inherit name;
      system = field "system";
      pname = if pname != null then pname else parsed.name;
      version = if version != null then version else parsed.version;
      position = or' null (position pkg { position = meta "position"; });
      description = or' null (text (meta "description"));
      homepage = or' null (let h = meta "homepage"; in if isList h then (if h == [ ] then null else text (builtins.head h)) else text h);
      maintainers = texts maintainer (meta "maintainers");
      teams = texts team (meta "teams");
      licences = texts licence (meta "license");
      patches = texts patch (try null (let p = pkg.patches or null; in if isList p then p else null));
      identifiers = or' { } (identifiers (meta "identifiers"));
      knownVulns = texts text (meta "knownVulnerabilities");
      broken = meta "broken" == true;
      unfree = meta "unfree" == true || try false (builtins.any unfree (list (meta "license")));
      insecure = meta "insecure" == true;
    };

  derivation' = pkg:
    let
      outputs = let o = pkg.outputs or [ "out" ]; in if isList o then take 65 o else [ "out" ];
      attrs = let d = pkg.drvAttrs or null; in if isAttrs d then d else pkg;
    in
    {
      name = text pkg.name;
      system = text (pkg.system or null);
      drv = text pkg.drvPath;
      fod = let h = attrs.outputHash or null; in h != null && h != "";
      outputs = builtins.listToAttrs (map (o: { name = unsafeDiscardStringContext o; value = text pkg.${o}.outPath; }) outputs);
    };

  describe = if tier == "drvs" then derivation' else metadata;

  # What stands at a path, given as a list of names.
  find = path: foldl'
    (at: name: if at.there && isAttrs at.v && at.v ? ${name} then { there = true; v = at.v.${name}; } else { there = false; v = null; })
    { there = true; v = root; }
    path;
  names = v: { set = map unsafeDiscardStringContext (attrNames v); };
  # A list of attribute paths, each a list of names.
  superset = file: { paths = map (map unsafeDiscardStringContext) (import (tree + "/${file}") { }).paths; };
  # Up to past nothing depends on the tier.
  tell = past: item: if item.superset != "" then superset item.superset else
    let at = find item.path; v = at.v; in
    if !at.there then { gone = true; }
    else if !isAttrs v then { other = true; }
    else if item.open then names v
    else if (v.type or null) == "derivation" then { pkg = seq (text v.name) (past (describe v)); }
    else if (v.recurseForDerivations or false) == true then names v
    else { other = true; };
  answer = i:
    let r = tryEval (let t = toJSON (tell (say "P ${toString i}") (elemAt all i)); in seq t t);
    in if r.success then unsafeDiscardStringContext r.value else toJSON { throws = true; };

  all = builtins.fromJSON items;
  step = i: say "B ${toString i}" (let a = answer i; in seq a (say "R ${toString i} ${a}" null));
  about = toJSON { inherit (builtins) storeDir nixVersion; };
in
seq (isAttrs root) (say "S" (seq (foldl' (_: i: step i) null (genList (i: i) (length all))) (say "D ${about}" true)))
