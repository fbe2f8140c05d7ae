"""`brokerpool feed`: a feed node of a cluster."""

from __future__ import annotations

from brokerpool.commands.options import Config, EnvFile, env_file_or_default, run, warn
from brokerpool.settings import Settings


def feed(env_file: EnvFile = None, config: Config = None) -> None:
    """Hold accounts for the gateways of a cluster, which meet at the NATS servers of BROKERPOOL_NATS_URL.

    The first line on stdout is JSON with node and status_url, once it takes part; logs go to stderr. SIGTERM
    and Ctrl-C hand the accounts over to other feed nodes and exit 0.
    """
    from brokerpool.gateway import feed_process  # `--help` stays quick
    from brokerpool.monitor.logs import configure

    def load() -> Settings:
        return Settings.load(env_file=env_file_or_default(env_file), config=config)

    settings = load()
    warn(settings)
    files = [file for file in (env_file_or_default(env_file), config) if file is not None]
    configure(settings.log_level, settings.log_format)
    run(settings, feed_process.run(settings, files, load))
