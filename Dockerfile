# The workbench in a container, for CPUs (the default) or GPUs (--target gpu). docs/install.md has the commands.
# Checked by hadolint. Not built: there was no builder where this was written.
FROM python:3.11-slim-bookworm AS base
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make gcc g++ libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir uv==0.13.8 \
    && useradd --create-home --uid 1000 lab
USER 1000
WORKDIR /home/lab/pzlib
COPY --chown=lab . .
ENV UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
EXPOSE 8888
# JupyterLab, with its token in the log.
CMD ["make", "lab", "LAB_FLAGS=--ip=0.0.0.0"]

FROM base AS gpu
# The libraries of CUDA come with torch; the host has the driver (580 or newer) and the NVIDIA Container Toolkit.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility UV_CONSTRAINT=requirements/gpu.txt
RUN requirements/install.sh eval,vllm,zero && touch .venv/installed

FROM base AS cpu
ENV UV_TORCH_BACKEND=cpu UV_CONSTRAINT=requirements/cpu.txt
RUN make .venv/installed-dev
