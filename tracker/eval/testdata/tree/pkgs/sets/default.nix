{ lib, self }:
{
  recurseForDerivations = true;
  one = lib.make { name = "set-one-1"; };
  inner = { recurseForDerivations = true; two = lib.make { name = "set-two-1"; }; };
  "a.dot" = lib.make { name = "dot"; };
  "a space" = lib.make { name = "space"; };
  shut.three = lib.make { name = "set-three"; };
}
