{
  old = "Olga Ld <old@example.org>";
  new = { name = "N. Ew"; email = "new@example.org"; github = "new-at-forge"; };
  mail = { name = "M. Ail"; email = "mail@example.org"; };
}
