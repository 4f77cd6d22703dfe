{ lib, self }:
{
  lib1 = lib.make {
    pname = "lib";
    version = "1";
    src = self.source;
    meta = { license = { free = false; fullName = "Secret"; }; knownVulnerabilities = [ "CVE-2021-9" ]; broken = true; };
  };
  alias1 = self.lib1;
  source = lib.make {
    name = "source-1.tar";
    outputHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    outputHashAlgo = "sha256";
    outputHashMode = "flat";
    meta.description = null;
  };
  floating = lib.make { name = "floating"; __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
  bare = derivation { name = "bare-0.1"; system = "x86_64-linux"; builder = "/bin/sh"; };
}
