"""The model of a run behind LitServe, for serving.py: serving_litserve.py RUN --port PORT."""

from __future__ import annotations

import argparse
from typing import Any

import litserve
import numpy as np

from tellapart import open_predictor


class Api(litserve.LitAPI):  # type: ignore[misc]
    """Pictures that come within two milliseconds go through the network together."""

    run = ""

    def setup(self, device: str) -> None:
        self.predictor = open_predictor(self.run)
        self.predictor.predict_one(np.zeros((64, 64, 3), np.uint8))

    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return request["images"].file.read()

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        return list(inputs)

    def predict(self, contents: list[bytes]) -> list[Any]:
        return [answer.to_json() for answer in self.predictor.predict(contents)]

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"answers": [output]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--port", type=int)
    given = parser.parse_args()
    api = Api(max_batch_size=64, batch_timeout=0.002, api_path="/v1/predict")
    api.run = given.run
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=1, timeout=60, healthcheck_path="/ready"
    )
    server.run(port=given.port, host="127.0.0.1", log_level="warning", generate_client_file=False)
