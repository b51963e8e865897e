# The worker image: Magneton with its extras [compute,mesh], no Airflow, no compiler. `make image` builds it.
#
# It runs with --read-only --network none --tmpfs /tmp, as any user. See docs/docker.md.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
SHELL ["/bin/sh", "-eu", "-c"]
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all:
RUN python3 -m venv /opt/magneton
WORKDIR /src
# Requirements first, so that a change of the code alone installs nothing anew.
COPY pyproject.toml constraints.txt docker/requirements.py ./
# Both secrets are optional; nothing of them stays in a layer.
RUN --mount=type=secret,id=pip_conf --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/pip_conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip_conf; fi; \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi; \
    python3 requirements.py compute mesh > requirements.txt; \
    /opt/magneton/bin/pip install -c constraints.txt -r requirements.txt
COPY README.md LICENSE ./
COPY magneton ./magneton
COPY magneton_tasks ./magneton_tasks
RUN --mount=type=secret,id=pip_conf --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/pip_conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip_conf; fi; \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi; \
    /opt/magneton/bin/pip install --no-deps .
COPY docker/slim.py ./
RUN /opt/magneton/bin/python slim.py /opt/magneton

FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="magneton-tasks" \
      org.opencontainers.image.description="Worker of Magneton: affinity map to segmentation, block by block" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 magneton \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin magneton
COPY --from=build /opt/magneton /opt/magneton
COPY --chmod=0755 docker/entrypoint.sh /usr/local/bin/magneton-worker
ENV PATH=/opt/magneton/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp USER=magneton LOGNAME=magneton \
    LANG=C.UTF-8 \
    NUMBA_CPU_NAME=generic MAGNETON_KERNEL_CACHE=/opt/magneton/kernels
RUN --mount=type=bind,source=docker/check_imports.py,target=/tmp/check_imports.py \
    python /tmp/check_imports.py \
    && magneton warm && rm -rf /tmp/magneton-kernels-*
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["magneton-worker"]
CMD ["--help"]
