"""The menu that `magneton` opens on a terminal; everything in it is a command as well."""
