"""Photos and pages without digitscope: Pillow's decoder alone, and a pipeline of OpenCV.

python pictures.py pillow|photo|page FILE
"""

import io
import sys
from pathlib import Path

import numpy as np
from digits import Digits
from loop import repeat
from PIL import Image

CONTENT = Path(sys.argv[2]).read_bytes()
PHOTO, PAGE = 1000, 1754  # pixels of the longer side to which they are scaled; a page: 150 dpi
BACKGROUND = 8  # the background is estimated at an eighth of that


def pillow() -> tuple[int, int]:
    """Decode to grey."""
    return np.asarray(Image.open(io.BytesIO(CONTENT)).convert("L")).shape


class Pipeline:
    """Grey, background, Otsu's threshold, connected components, 28x28, network."""

    def __init__(self) -> None:
        """Load OpenCV, on one thread, and the network."""
        import cv2

        cv2.setNumThreads(1)
        self.cv2, self.digits = cv2, Digits()

    def photo(self) -> str:
        """Read the digit of the largest component."""
        ink, labels, stats = self._components(self._grey(PHOTO))
        largest = 1 + int(stats[1:, self.cv2.CC_STAT_AREA].argmax())
        return self._read([self._mnist(ink, labels, stats, largest)])

    def page(self) -> str:
        """Read every component of some size, in the order of rows and columns."""
        ink, labels, stats = self._components(self._grey(PAGE))
        chosen = [n for n in range(1, len(stats)) if stats[n, self.cv2.CC_STAT_HEIGHT] > 15]
        height = max(stats[n, self.cv2.CC_STAT_HEIGHT] for n in chosen)
        middles = stats[:, 1] + stats[:, 3] // 2
        chosen.sort(key=lambda n: middles[n])
        lines, last = [], -height
        for n in chosen:
            if middles[n] - last > height / 2:
                lines.append([])
            lines[-1].append(n)
            last = middles[n]
        ordered = [n for line in lines for n in sorted(line, key=lambda n: stats[n, 0])]
        return self._read([self._mnist(ink, labels, stats, n) for n in ordered])

    def _grey(self, side: int) -> np.ndarray:
        """Decode to grey, a JPEG file at the smallest size that suffices, and scale down."""
        cv2 = self.cv2
        reduced = {1: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2}
        reduced[4] = cv2.IMREAD_REDUCED_GRAYSCALE_4
        longer = max(Image.open(io.BytesIO(CONTENT)).size)
        times = max(n for n in reduced if n == 1 or longer // n >= side)
        grey = cv2.imdecode(np.frombuffer(CONTENT, np.uint8), reduced[times])
        scale = min(1, side / max(grey.shape))
        size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
        return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)

    def _components(self, grey: np.ndarray):
        cv2 = self.cv2
        size = (grey.shape[1] // BACKGROUND, grey.shape[0] // BACKGROUND)
        small = cv2.medianBlur(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), 31)
        background = cv2.resize(small, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
        ink = cv2.blur(cv2.subtract(background, grey), (3, 3))
        _, mask = cv2.threshold(ink, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
        return ink, labels, stats

    def _mnist(self, ink, labels, stats, number: int) -> np.ndarray:
        """Bring a component into a box of 20, its centre of mass in the middle of 28x28."""
        cv2 = self.cv2
        x, y, width, height, _ = stats[number]
        place = np.s_[y : y + height, x : x + width]
        cut = np.where(labels[place] == number, ink[place], 0).astype(np.float32)
        cut *= 255 / max(1, np.percentile(cut[cut > 0], 80))
        scale = 20 / max(width, height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(np.minimum(cut, 255), size, interpolation=cv2.INTER_AREA)
        moments = cv2.moments(small)
        left = round(14 - moments["m10"] / moments["m00"])
        top = round(14 - moments["m01"] / moments["m00"])
        left, top = min(max(left, 0), 28 - size[0]), min(max(top, 0), 28 - size[1])
        image = np.zeros((28, 28), np.float32)
        image[top : top + size[1], left : left + size[0]] = small
        return image.astype(np.uint8)

    def _read(self, images: list) -> str:
        found = self.digits.probabilities(np.stack(images)).argmax(1)
        return "".join(map(str, found))


if __name__ == "__main__":
    repeat(pillow if sys.argv[1] == "pillow" else getattr(Pipeline(), sys.argv[1]))
