/** The camera of this device. */

import { textOf } from "model/errors.js";

import { Problem } from "./problem.ts";

type Facing = "environment" | "user";

/** Shows the camera in a video element, and gives its frames one after the other. */
export class Camera {
  readonly #video: HTMLVideoElement;
  #stream: MediaStream | undefined;
  #facing: Facing = "environment";

  constructor(video: HTMLVideoElement) {
    this.#video = video;
  }

  get runs(): boolean {
    return this.#stream !== undefined;
  }

  /** Ask for the camera and show it. ended: called when the camera stops by itself. Throws Problem. */
  async start(ended: () => void): Promise<void> {
    this.stop();
    // Without HTTPS or localhost a browser has no mediaDevices.
    const devices: MediaDevices | undefined = navigator.mediaDevices;
    if (devices === undefined) {
      throw new Problem(
        "The camera needs HTTPS",
        `Browsers give no camera to ${location.origin}. Open the page by https or from localhost, or choose an image.`,
      );
    }
    const wanted = { facingMode: { ideal: this.#facing }, width: { ideal: 640 }, height: { ideal: 480 } };
    try {
      this.#stream = await devices.getUserMedia({ video: wanted });
      for (const track of this.#stream.getVideoTracks()) track.addEventListener("ended", ended);
      this.#video.srcObject = this.#stream;
      await this.#video.play();
    } catch (error) {
      this.stop();
      throw cameraProblem(error);
    }
  }

  /** Whether there is another camera. Browsers tell it only after permission was given. */
  async hasOther(): Promise<boolean> {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter((device) => device.kind === "videoinput").length > 1;
  }

  /** Let the next `start` take the camera of the other side. */
  turn(): void {
    this.#facing = this.#facing === "user" ? "environment" : "user";
  }

  /** Resolves when the video shows its next frame. */
  nextFrame(): Promise<void> {
    const video = this.#video;
    return new Promise((resolve) => {
      // Older browsers have no callback for frames of a video.
      if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(() => resolve());
      else requestAnimationFrame(() => resolve());
    });
  }

  stop(): void {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = undefined;
    this.#video.srcObject = null;
  }
}

const told: Record<string, [title: string, message: string]> = {
  NotFoundError: ["No camera was found", "Connect a camera and start it again, or choose an image."],
  NotAllowedError: [
    "The camera was refused",
    "Allow it for this page: in the browser by the icon beside the address, and in the system's settings for the " +
      "browser. Then start it again, or choose an image.",
  ],
  NotReadableError: ["The camera does not answer", "Another program may use it: close that, and start it again."],
};

function cameraProblem(error: unknown): Problem {
  const name = error instanceof DOMException ? error.name : "";
  const [title, message] = told[name] ?? ["The camera failed", textOf(error)];
  return new Problem(title, message, error);
}
