# The server in a container, under a user of its own. docs/operations.md says how to run it.

FROM node:24-slim AS page
# What the page takes from npm, with the digests of package-lock.json.
WORKDIR /source
COPY page page
WORKDIR /source/page
RUN npm ci --ignore-scripts

FROM python:3.13-slim AS build
WORKDIR /source
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY mles_tx mles_tx
COPY page page
COPY static static
COPY twisted twisted
COPY --from=page /source/page/node_modules /node_modules
RUN python page/fetch.py --installed /node_modules \
    && python -m venv /opt/mles_tx \
    && /opt/mles_tx/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.13-slim
# Certificates and keys are kept here; the number is fixed, so that volumes may be given to it.
RUN useradd --system --uid 10443 --home-dir /var/lib/mles_tx --create-home --shell /usr/sbin/nologin mles
COPY --from=build /opt/mles_tx /opt/mles_tx
# MLES_TX_ADMIN is --admin, for whoever looks from inside: the health check.
ENV PATH=/opt/mles_tx/bin:$PATH \
    STATE_DIRECTORY=/var/lib/mles_tx \
    MLES_TX_ADMIN=tcp:9100:interface=127.0.0.1
USER 10443
WORKDIR /var/lib/mles_tx
VOLUME ["/var/lib/mles_tx"]
EXPOSE 80 443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s CMD ["mles-tx", "health"]
ENTRYPOINT ["mles-tx", "serve"]
# To try it out: with a self-signed certificate. For others: --domains example.org --email ... --redirect
CMD ["--domains", "localhost"]
