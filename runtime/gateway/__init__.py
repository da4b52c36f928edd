"""The public API: REST, WebSocket API and market streams."""
