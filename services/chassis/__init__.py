"""What two services need and none owns: start and stop, settings, logs, gRPC, RabbitMQ, batching. It holds no word of jobs."""
