"""The FIX gateway, for partners. It speaks the outermost layer of FIX 4.4 so far: it says that orders are not built."""
