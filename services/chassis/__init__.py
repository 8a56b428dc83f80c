"""What two services need and no service owns: start and stop, settings, logs, gRPC, RabbitMQ, batching. It holds no word of jobs."""
