"""Other people's volumes: the only room that knows axes, codecs and units of files."""
