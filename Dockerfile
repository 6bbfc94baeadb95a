# CPU:  docker build -t rbc_rllib . && docker run --rm --shm-size=2g -v "$PWD/results:/project/results" rbc_rllib
# CUDA: add --build-arg BASE=nvidia/cuda:13.0.1-runtime-ubuntu24.04 --build-arg TORCH_INDEX=https://pypi.org/simple to the
#       build and --gpus all to the run. Another command: docker run ... rbc_rllib rbc_rllib.evaluate results/quickstart
ARG BASE=python:3.11-slim
FROM ${BASE}

# CUDA's image has no Python, and KubeRay's probes call wget.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget $(command -v python3 >/dev/null || echo python3 python3-venv) \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /project
COPY requirements.txt LICENSE ./
# torch first, from the index of its CPU or CUDA build: the pins then find it installed.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" "$(grep '^torch==' requirements.txt)" \
    && pip install --no-cache-dir --requirement requirements.txt

COPY rbc_rllib rbc_rllib
COPY callbacks callbacks
COPY analysis analysis
COPY tune_configs tune_configs
COPY benchmarks benchmarks

ENTRYPOINT ["python", "-m"]
CMD ["rbc_rllib.sweep"]
