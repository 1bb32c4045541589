"""Hostile requests: made from the service model and from malice, sent to a real server, whose answers are judged."""
