{ lib, self }:
lib.make {
  pname = "hello";
  version = "2.12";
  outputs = [ "out" "doc" ];
  patches = [ ./a.patch "${./a.patch}" (derivation { name = "CVE-2020-1.patch"; system = "x"; builder = "x"; }) ];
  dep = self.lib1;
  meta = {
    description = "A program\nthat <greets> & “quotes”";
    homepage = "https://hello.example/";
    maintainers = [ lib.maintainers.new lib.maintainers.old lib.maintainers.mail "Un Known <un@example.org>" ];
    teams = [ { shortName = "Greeters"; members = [ ]; } ];
    license = [ { spdxId = "GPL-3.0-or-later"; shortName = "gpl3Plus"; } { shortName = "own"; } "BSD" ];
    broken = false;
    identifiers = { cpe = "cpe:2.3:a:gnu:hello:2.12"; cpeParts = { vendor = "gnu"; update = null; }; possible = [ 1 ]; };
  };
}
