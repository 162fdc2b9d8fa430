"""The gRPC methods of the file system: requests to transactions, rows to messages."""
