"""The supervisor (nginx's master) and its worker processes: start, signals, reload, upgrade in place."""
