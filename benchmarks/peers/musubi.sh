# musubi-tuner (kohya-ss/musubi-tuner), run in its folder. MODEL: a folder in diffusers' layout; CONFIG: musubi.toml.
# float8 weights: add --fp8_base --fp8_scaled. Without recomputation: leave --gradient_checkpointing out.
dit=$(ls $MODEL/transformer/*-00001-of-*.safetensors)
qwen=$(ls $MODEL/text_encoder/*-00001-of-*.safetensors)
vae=$MODEL/vae/diffusion_pytorch_model.safetensors
python src/musubi_tuner/zimage_cache_latents.py --dataset_config $CONFIG --vae $vae
python src/musubi_tuner/zimage_cache_text_encoder_outputs.py --dataset_config $CONFIG --text_encoder $qwen --batch_size 8
accelerate launch --num_cpu_threads_per_process 1 --mixed_precision bf16 src/musubi_tuner/zimage_train_network.py \
  --dit $dit --vae $vae --text_encoder $qwen --dataset_config $CONFIG --base_weights $MODEL/training_adapter.safetensors \
  --sdpa --mixed_precision bf16 --gradient_checkpointing --timestep_sampling shift --discrete_flow_shift 3.0 \
  --weighting_scheme none --optimizer_type adamw8bit --learning_rate 1e-4 --max_grad_norm 1.0 \
  --network_module networks.lora_zimage --network_dim 16 --network_alpha 16 --max_data_loader_n_workers 2 \
  --persistent_data_loader_workers --max_train_steps 200 --seed 1 --output_dir /tmp/peers/musubi --output_name peer_musubi
