"""N5: arrays in folders with an ``attributes.json``, the fastest axis first."""
