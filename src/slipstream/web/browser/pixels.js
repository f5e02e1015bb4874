// Comparing two pictures, pixel by pixel. Pixels are RGBA bytes of a canvas.

// The difference of two pictures of one size, `gain` times as strong, opaque; and its mean as a share of full range.
export function difference(a, b, gain = 1) {
  const pixels = new Uint8ClampedArray(a.length);
  let total = 0;
  for (let index = 0; index < a.length; index += 4) {
    for (let channel = index; channel < index + 3; channel += 1) {
      const apart = Math.abs(a[channel] - b[channel]);
      total += apart;
      pixels[channel] = apart * gain;
    }
    pixels[index + 3] = 255;
  }
  return { pixels, mean: a.length ? total / ((a.length / 4) * 3 * 255) : 0 };
}

export function loadPicture(address) {
  return new Promise((resolve, reject) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = () => reject(new Error(address));
    picture.src = address;
  });
}

// RGBA bytes of a picture, scaled to a size.
export function pixelsOf(picture, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(picture, 0, 0, width, height);
  return pen.getImageData(0, 0, width, height).data;
}
