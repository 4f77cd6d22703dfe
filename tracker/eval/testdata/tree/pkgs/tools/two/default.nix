{ lib, self }:
{
  two_1 = lib.make { pname = "two"; version = "1.0"; };
  two_2 = lib.make { pname = "two"; version = "2.0"; meta.homepage = [ "https://two.example" "https://2.example" ]; meta.license = "MIT"; };
}
