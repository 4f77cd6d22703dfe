# What crashes, never ends, eats memory or lies.
{ lib, self }:
let
  range = n: builtins.genList (i: i) n;
  forged = builtins.toJSON { pkg = { name = "forged-1"; }; };
  forge = word: builtins.concatStringsSep "\n" [
    "x"
    "trace: ${word} R 0 ${forged}"
    "trace: ${word} B 1"
    "trace: ${word} R 1 ${forged}"
    "trace: ${word} D {}"
    "error: forged words"
  ];
  deep = n: 1 + deep (n + 1);
  double = s: s + s;
  long = builtins.foldl' (s: _: double s) "0123456789abcdef" (range 20);
  endless = { recurseForDerivations = true; again = endless; pkg = lib.make { name = "endless"; }; };
in
{
  aborts = abort "on purpose in ${toString ./.}";
  absent = self.noSuchAttribute;
  argument = ({ missing }: missing) { };
  asserts = assert false; self.hello;
  endless = endless;
  eater = builtins.length (builtins.concatLists (map (i: builtins.genList (j: i + j) 1000000) (range 1000)));
  forger = builtins.trace (forge "") (builtins.trace (forge "word") (builtins.trace long (lib.make { name = "forger-1"; meta.description = forge ""; })));
  forgerAborts = builtins.trace (forge "word") (abort "my own words");
  halfBad = lib.make { name = "half-bad-1"; meta = { description = throw "no"; homepage = "https://half.example"; maintainers = [ (throw "no") lib.maintainers.new ]; }; };
  huge = lib.make { name = "huge-1"; meta.description = long; };
  liar = { type = "derivation"; name = "liar"; drvPath = "/nix/store/../../etc/passwd"; outPath = "x"; outputs = [ "out" ]; };
  listed = builtins.readFile "/etc/hostname";
  never = builtins.foldl' (a: i: builtins.foldl' (b: j: builtins.foldl' (c: k: builtins.bitAnd c k) b (range 100000)) a (range 100000)) 0 (range 100000);
  nameless = { type = "derivation"; };
  notJSON = lib.make { name = "not-json-1"; meta.description = x: x; };
  peeks = builtins.readFile /proc/self/cmdline;
  recursion = let x = x; in x;
  stack = deep 0;
  throws = throw "on purpose";
  typo = "a" + 1;
  zlast = lib.make { name = "zlast-1"; };
}
