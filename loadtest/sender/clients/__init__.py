"""How requests are sent: raw HTTP and raw gRPC over one epoll, and tritonclient's HTTP and gRPC."""
